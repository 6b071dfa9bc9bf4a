"""The read-only root that all jails of one zygote share.

Built once, in a mount namespace of the zygote's own: the system's programs, the
interpreter and its standard library where the host has them, an empty folder over
every folder of installed packages, a few device nodes, a small /etc. What a jail
writes to, and its own /proc, are mounted over it when the jail is made.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from thane.isolation import libc

WORKSPACE = "/workspace"
CODE = "/run/code"
PACKAGES = "/run/packages"  # of a template; empty without one
PATH = "/usr/local/bin:/usr/bin:/bin"
_PYTHON_NAMES = ("/usr/local/bin/python3", "/usr/local/bin/python")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_FOLDERS = ("proc", "dev", "dev/pts", "dev/shm", "tmp", "workspace", "run", "run/code", "run/packages", "old")
_SAFE = libc.MS_NOSUID | libc.MS_NODEV


@dataclass(frozen=True)
class Plan:
    """What the root is made of: paths of the host. It goes to the zygote as plain data."""

    at: str  # an empty folder of the host to build it at
    folders: tuple[str, ...]  # shown where they are
    files: tuple[str, ...]  # the same, single files
    links: tuple[tuple[str, str], ...]  # where, whither
    hidden: tuple[str, ...]  # folders of installed packages
    etc: str
    empty: str


def _folder(root: str, path: str) -> str:
    os.makedirs(root + path, mode=0o755, exist_ok=True)
    return root + path


def _show(source: str, target: str, flags: int = _SAFE) -> None:
    libc.mount(source, target, None, libc.MS_BIND | libc.MS_REC)
    libc.mount(None, target, None, libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY | flags)


def _file(root: str, path: str) -> str:
    _folder(root, os.path.dirname(path))
    os.close(os.open(root + path, os.O_CREAT | os.O_WRONLY, 0o755))
    return root + path


def _devices(root: str) -> None:
    for name in _DEVICES:
        path = _file(root, f"/dev/{name}")
        libc.mount(f"/dev/{name}", path, None, libc.MS_BIND)
    for name, target in _DEVICE_LINKS:
        os.symlink(target, f"{root}/dev/{name}")


def build(plan: Plan) -> None:
    """Make the root and move into it. The caller's mount namespace is its own."""
    root = plan.at
    libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("tmpfs", root, "tmpfs", _SAFE, "mode=755,size=1m")
    for name in _FOLDERS:
        os.mkdir(f"{root}/{name}", 0o755)
    for path in plan.folders:
        _show(path, _folder(root, path))
    for path in plan.files:
        _show(path, _file(root, path))
    for path in plan.hidden:
        _show(plan.empty, root + path)
    for path, target in plan.links:
        if not os.path.lexists(root + path):
            _folder(root, os.path.dirname(path))
            os.symlink(target, root + path)
    _show(plan.etc, _folder(root, "/etc"))
    _devices(root)
    # The kernel allows a new /proc only where a whole one can be seen; each jail mounts its own over it.
    libc.mount("/proc", f"{root}/proc", None, libc.MS_BIND | libc.MS_REC)
    os.chdir(root)
    libc.pivot_root(".", "old")
    os.chdir("/")
    libc.umount("/old")
    os.rmdir("/old")
    libc.mount(None, "/", None, libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY | _SAFE)


def python_links(executable: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, executable) for name in _PYTHON_NAMES if name != executable)
