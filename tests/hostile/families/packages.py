"""A package that attacks when it is imported, as one from an index would that a template installs.

Here it lies in the job's workspace and is imported in the job's jail. A template's packages
are imported in a jail of the same walls, from which jobs are then forked: a harness that makes
a template of `Program.package` runs the same rows there.
"""

from __future__ import annotations

from tests.hostile.rows import Expectations, NotShown, Program, denied, ends, everywhere, nothing

_SHOWN = NotShown("importing is running: the rows of other families show the same without a jail")


def _package(name: str, aim: str, package: str, expect: Expectations, **more: object) -> Program:
    aim = f"{aim} by a package that attacks when it is imported"
    source = more.pop("source", "import evil")
    return Program(name, "packages", aim, str(source), expect, _SHOWN, package=package, **more)  # type: ignore[arg-type]


PACKAGES = (
    _package(
        "package-reads-a-host-file",
        "read a file of the host",
        "found(SECRET in open(H['file'], 'rb').read())",
        denied("ENOENT", t1="EACCES"),
    ),
    _package(
        "package-reads-the-key",
        "read the server's key",
        "found(SECRET in open(H['key_file'], 'rb').read())",
        denied("ENOENT", t1="EACCES"),
    ),
    _package(
        "package-calls-home",
        "carry something out over the network",
        "import socket\nsocket.create_connection((H['address'], H['any_port']), 5)\nfound(True)",
        denied("ECONNREFUSED|ENETUNREACH|EADDRNOTAVAIL|EHOSTUNREACH", t1="EPERM"),
    ),
    _package(
        "package-looks-at-the-zygote",
        "read the process from which jails are forked, and its siblings",
        """
found([n for n in {*numbers(), "1", str(os.getppid())} for what in ("environ", "mem", "maps")
       if n not in ("self", str(os.getpid())) and read(f"/proc/{n}/{what}")[:1]])
""",
        nothing("NOTHING|DENIED EACCES"),
    ),
    _package(
        "package-leaves-a-process",
        "leave a process behind",
        """
import time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(600)
    os._exit(0)
os.wait()
end("LEFT ONE", 0)
""",
        everywhere(ends("LEFT ONE\n")),
    ),
    _package(
        "package-changes-the-library",
        "change for the next job what the standard library does",
        """
import builtins, json
json.dumps = builtins.ascii = lambda *a, **k: end("REACHED", 0)
for name in list(sys.modules):
    try: open(sys.modules[name].__file__, "a").write("\\nREACHED")
    except (AttributeError, OSError, TypeError): pass
end("CHANGED", 0)
""",
        everywhere(ends("CHANGED\n")),
        sequel="import json\nfound(json.dumps(1) != '1' or 'REACHED' in open(json.__file__).read())",
    ),
    _package(
        "package-plants-itself",
        "be imported by the next job, which did not ask for it",
        """
for folder in (*sys.path, os.environ["HOME"], os.environ["TMPDIR"], "/run/code"):
    for name in ("sitecustomize.py", "usercustomize.py", "evil_next.py", "evil.pth"):
        try: open(f"{folder}/{name}", "w").write("print('REACHED')")
        except OSError: pass
end("PLANTED", 0)
""",
        everywhere(ends("PLANTED\n")),
        sequel="import importlib.util\nfound(importlib.util.find_spec('evil_next'))",
    ),
)
