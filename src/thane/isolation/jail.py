"""The command that makes a jail of namespaces: bubblewrap's arguments.

Pure: it looks at the host's facts and answers with a list. Nothing secret is in it, as
a command line can be read by anybody on the host; code, environment and input go
through descriptors and files.
"""

from __future__ import annotations

from thane.isolation.host import Host
from thane.isolation.stage import Place

WORKSPACE = "/workspace"
CODE = "/run/code"
_BOOT = "/run/boot"
_PYTHON_NAMES = ("/usr/local/bin/python3", "/usr/local/bin/python")
PATH = "/usr/local/bin:/usr/bin:/bin"

_NAMESPACES = (
    "--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup --disable-userns"
    " --die-with-parent --new-session --cap-drop ALL --uid 1000 --gid 1000 --hostname sandbox --as-pid-1"
).split()


def _read_only(host: Host) -> list[str]:
    """Binds for the system's programs, the interpreter, and empty folders over installed packages."""
    arguments: list[str] = []
    for folder in host.visible.system:
        arguments += ["--ro-bind", folder, folder]
    for path, link in host.visible.links:
        arguments += ["--ro-bind", path, path] if link is None else ["--symlink", link, path]
    for path in (*host.interpreter.libraries, host.interpreter.executable):
        if path in host.shown:
            arguments += ["--ro-bind", host.shown[path], path]
    for folder in host.visible.hidden:
        arguments += ["--ro-bind", host.stage.empty, folder]
    for name in _PYTHON_NAMES:
        if name != host.interpreter.executable:
            arguments += ["--symlink", host.interpreter.executable, name]
    arguments += ["--ro-bind", f"{host.stage.root}/etc", "/etc"]
    return arguments


def command(host: Host, place: Place, *, seccomp: int, info: int, spec: int) -> list[str]:
    """The whole command. The numbers are descriptors that the new process inherits."""
    assert host.bwrap is not None, "the tier was chosen because bwrap works"
    return [
        host.bwrap,
        *_NAMESPACES,
        "--clearenv",
        *("--setenv", "LANG", "C.UTF-8"),
        *_read_only(host),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--bind", place.shm, "/dev/shm", "--remount-ro", "/dev"),
        *("--bind", place.tmp, "/tmp", "--bind", place.workspace, WORKSPACE),
        *("--ro-bind", f"{host.stage.root}/boot", _BOOT, "--ro-bind", place.code, CODE),
        *("--remount-ro", "/", "--chdir", WORKSPACE),
        *("--seccomp", str(seccomp), "--info-fd", str(info)),
        "--",
        *interpreter_command(host.interpreter.executable, f"{_BOOT}/jailed.pyc", "first", spec),
    ]


def interpreter_command(executable: str, boot: str, role: str, spec: int) -> list[str]:
    """Isolated, without installed packages, unbuffered, writing no byte code."""
    return [executable, "-I", "-S", "-u", "-B", boot, role, str(spec)]
