"""gVisor's `runsc`: where it is, what a guest is made of, and how it says that its program ended.

Plain values and one parser; `guest` starts it and `guest_monitor` watches it. A guest is
described once for all jobs: what a job adds lies in its folders.
"""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass

from thane.isolation import root

REMEDY = "apt-get install runsc (Debian), or put gVisor's runsc into /usr/local/bin"
# Inside the jail that runsc runs in: its own small world, in memory.
RUN = "/run"
GUEST_ROOT = f"{RUN}/guest"
BUNDLE = f"{RUN}/bundle"
STATE = f"{RUN}/state"
LOG = f"{RUN}/log"
BOOT = "/boot.pyc"  # as the guest sees it
_WHERE = ("/usr/bin/runsc", "/usr/local/bin/runsc", "/usr/sbin/runsc", "/usr/local/sbin/runsc")
_MOST_COMPLAINT = 4096
_STATUS = re.compile(r"Exiting with status: (\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """How the guest's program ended: exactly one of the two is set."""

    code: int | None = None
    signal: int | None = None


def find() -> str | None:
    """The path of runsc, or None."""
    return next((path for path in _WHERE if os.access(path, os.X_OK)), None)


def command(runsc: str) -> list[str]:
    """What runs the guest. Limits, cgroups and namespaces around it are ours: it is told to make none."""
    return [
        runsc,
        "--rootless",
        f"--root={STATE}",
        f"--debug-log={LOG}/%COMMAND%",
        "--network=none",
        "--ignore-cgroups",
        "run",
        f"--bundle={BUNDLE}",
        "guest",
    ]


def bundle(executable: str) -> str:
    """The guest's `config.json`: an OCI specification.

    Its only user is 0, without a capability: the folders belong to the jail's one uid, and an
    ordinary user has no second one to give.
    """
    shown = {root.WORKSPACE: True, "/tmp": True, "/dev/shm": True, root.CODE: False}
    binds = [
        {
            "destination": path,
            "type": "bind",
            "source": path,
            "options": ["bind", "rw" if writable else "ro", "nosuid", "nodev"],
        }
        for path, writable in shown.items()
    ]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        *binds,
    ]
    return json.dumps(
        {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False,
                "user": {"uid": 0, "gid": 0},
                "args": [executable, "-I", "-S", "-u", "-B", BOOT, "guest"],
                "env": ["LANG=C.UTF-8"],
                "cwd": "/",
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": GUEST_ROOT, "readonly": True},
            "hostname": "sandbox",
            "mounts": mounts,
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
        }
    )


def parse_end(log: str) -> Ended | None:
    """What runsc's own log says of the program's end; None if the guest ended in another way.

    The exit code of runsc does not tell 137 from SIGKILL; its log has the wait status.
    """
    found = _STATUS.findall(log)
    if not found:
        return None
    status = int(found[-1])
    if os.WIFSIGNALED(status):
        return Ended(signal=os.WTERMSIG(status))
    return Ended(code=os.WEXITSTATUS(status))


def complaints(logs: dict[str, str]) -> str:
    """What runsc's processes have warned of, by process; for a guest that broke."""
    found = [
        f"{name}: {line.partition('] ')[2]}"
        for name, log in logs.items()
        for line in log.splitlines()
        if line[:1] in "WEF" and "] " in line
    ]
    return "\n".join(found)[-_MOST_COMPLAINT:] or "runsc gave no reason"


def mirror(ended: Ended | None) -> None:
    """End this process as the guest's program ended. A guest that broke ends by SIGKILL."""
    if ended is not None and ended.code is not None:
        os._exit(ended.code)
    number = signal.SIGKILL if ended is None or ended.signal is None else ended.signal
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # for a signal that ends nothing by itself
