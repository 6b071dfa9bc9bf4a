"""The stage: one folder that holds what jails are made from, and their workspaces.

Where the kernel allows it the program takes a mount namespace of its own (as an
ordinary user inside a user namespace of its own), so that each workspace is a memory
file system with a size and an inode limit, and no mount outlives the program. Where it
does not, a workspace is a plain folder that the watchdog measures.
"""

from __future__ import annotations

import errno
import importlib.util
import marshal
import os
import pathlib
import shutil
from dataclasses import dataclass

from thane.isolation import broom, libc, spawn
from thane.isolation.interpreter import Interpreter

INODES = 20_000
_ACCOUNTS = {
    "passwd": "root:x:0:0::/:/bin/sh\nsandbox:x:1000:1000::/workspace:/bin/sh\n",
    "group": "root:x:0:\nsandbox:x:1000:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


@dataclass(frozen=True)
class Place:
    """One job's folders on the host. `tmpfs` says whether the kernel limits their size."""

    base: str
    code: str
    tmpfs: bool

    @property
    def workspace(self) -> str:
        return f"{self.base}/workspace"

    @property
    def tmp(self) -> str:
        return f"{self.base}/tmp"

    @property
    def shm(self) -> str:
        return f"{self.base}/shm"

    @property
    def writable(self) -> tuple[str, str, str]:
        return self.workspace, self.tmp, self.shm


def _take_namespaces(root: str, as_root: bool) -> None:
    if as_root:
        libc.unshare(libc.CLONE_NEWNS)
    else:
        uid, gid = os.getuid(), os.getgid()
        libc.unshare(libc.CLONE_NEWUSER | libc.CLONE_NEWNS)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            pathlib.Path(f"/proc/self/{name}").write_text(text)
    libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("tmpfs", root, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755")


def _others_reach(path: str) -> bool:
    """Whether every user may pass through all folders above `path` and read it."""
    above = [os.stat(parent).st_mode & 0o001 for parent in pathlib.Path(path).parents]
    return all(above) and bool(os.stat(path).st_mode & 0o004)


def _bind(path: str, target: str) -> None:
    """Show `path` at `target`, read-only, by a mount."""
    if os.path.isdir(path):
        os.mkdir(target, 0o755)
    else:
        pathlib.Path(target).touch(0o755)
    libc.mount(path, target, None, libc.MS_BIND)
    flags = libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV
    libc.mount(None, target, None, flags)


def _mirror(path: str, target: str) -> None:
    """Show `path` at `target` where nothing can be mounted: hard links, or copies across file systems."""
    if os.path.isdir(path):
        left_out = shutil.ignore_patterns("site-packages", "dist-packages", "test", "tests", "idlelib")
        shutil.copytree(path, target, symlinks=True, copy_function=_link_or_copy, ignore=left_out)
        os.chmod(target, 0o755)
    else:
        _link_or_copy(path, target)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        shutil.copy(source, target)


class Stage:
    """Made once, when the program starts, before anything else runs in it."""

    def __init__(self, root: str, *, as_root: bool) -> None:
        self.root = root
        self.as_root = as_root
        # Tried in a child first: a half-taken namespace (AppArmor lets one be made and
        # then denies everything in it) must not become this process's own.
        self.mounted = spawn.succeeds(lambda: _take_namespaces(root, as_root))
        if self.mounted:
            _take_namespaces(root, as_root)
        # As root the jails' uids must pass. Else nobody: what a program leaves here may be setuid.
        os.chmod(root, 0o755 if as_root else 0o700)
        for name in ("boot", "etc", "empty", "root", "python", "jobs", "code"):
            os.mkdir(f"{root}/{name}", 0o755)
        for name, text in _ACCOUNTS.items():
            pathlib.Path(f"{root}/etc/{name}").write_text(text)
        if os.path.exists("/etc/ld.so.cache"):
            shutil.copyfile("/etc/ld.so.cache", f"{root}/etc/ld.so.cache")
        self._compile_boot()

    def _compile_boot(self) -> None:
        """What tier T1's child runs first, compiled: a jail should not spend its time on that."""
        source = pathlib.Path(__file__).with_name("jailed.py").read_text()
        code = compile(source, "jailed.py", "exec", dont_inherit=True, optimize=0)
        header = importlib.util.MAGIC_NUMBER + bytes(12)
        pathlib.Path(self.boot).write_bytes(header + marshal.dumps(code))

    @property
    def boot(self) -> str:
        return f"{self.root}/boot/jailed.pyc"

    @property
    def empty(self) -> str:
        return f"{self.root}/empty"

    def show_interpreter(self, interpreter: Interpreter) -> dict[str, str]:
        """Host path → path that a jail's uid can reach. As root an interpreter under /root needs a way in."""
        if interpreter.inside_system:
            return {}
        wanted = (interpreter.executable, *interpreter.libraries)
        if not self.as_root or all(_others_reach(path) for path in wanted):
            return {path: path for path in wanted}
        show = _bind if self.mounted else _mirror
        os.mkdir(f"{self.root}/python/bin", 0o755)
        shown: dict[str, str] = {}
        for path in wanted:
            folder = "python/bin" if path == interpreter.executable else "python"
            shown[path] = f"{self.root}/{folder}/{os.path.basename(path)}"
            show(path, shown[path])
        return shown

    def open_place(self, name: str, disk_bytes: int, owner: int | None) -> Place:
        """Fresh folders for one job, owned by `owner` (the jail's uid; None: the program's own)."""
        place = Place(f"{self.root}/jobs/{name}", f"{self.root}/code/{name}", self.mounted)
        os.mkdir(place.base, 0o711)
        if self.mounted:
            options = f"size={disk_bytes},nr_inodes={INODES},mode=711"
            libc.mount("tmpfs", place.base, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, options)
        os.mkdir(place.code, 0o755)
        for path in place.writable:
            os.mkdir(path, 0o700)
            if owner is not None:
                os.chown(path, owner, owner)
        return place

    def resize_place(self, place: Place, disk_bytes: int) -> None:
        """Give a place that was made ahead of its job the job's size."""
        options = f"size={disk_bytes},nr_inodes={INODES}"
        flags = libc.MS_REMOUNT | libc.MS_NOSUID | libc.MS_NODEV
        libc.mount(None, place.base, None, flags, options)

    def close_place(self, place: Place) -> None:
        if place.tmpfs:
            libc.umount(place.base)
            os.rmdir(place.base)
        else:
            broom.remove_tree(place.base)
        shutil.rmtree(place.code)
