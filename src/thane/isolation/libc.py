"""The few system calls that Python's `os` does not offer, by ctypes.

It only wraps: every function raises OSError with the call's name, decides nothing and
keeps no state.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

MNT_DETACH = 2

SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_OPENAT2 = 437
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
SYS_LANDLOCK_CREATE_RULESET = 444
SYS_LANDLOCK_ADD_RULE = 445
SYS_LANDLOCK_RESTRICT_SELF = 446

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int | ctypes.Array[ctypes.c_char] = 0, pointer: object = None) -> None:
    """`prctl(2)`. `pointer` is the third argument where the option takes a structure."""
    first = value if isinstance(value, ctypes.Array) else ctypes.c_ulong(value)
    second = ctypes.c_ulong(0) if pointer is None else pointer
    _check(_libc.prctl(option, first, second, ctypes.c_ulong(0), ctypes.c_ulong(0)), f"prctl({option})")


def set_process_name(name: str) -> None:
    prctl(PR_SET_NAME, ctypes.create_string_buffer(name.encode()[:15]))


def unshare(flags: int) -> None:
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    _check(
        _libc.mount(
            None if source is None else os.fsencode(source),
            os.fsencode(target),
            None if kind is None else kind.encode(),
            ctypes.c_ulong(flags),
            None if data is None else data.encode(),
        ),
        f"mount {target}",
    )


def umount(target: str) -> None:
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4


def clone_tree(path: str) -> int:
    """A descriptor of a new mount of `path` that hangs nowhere: another mount namespace may hang it up."""
    return syscall(SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC)


def hang_tree(tree: int, target: str) -> None:
    """Mount what `clone_tree` has made at `target`."""
    syscall(SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)


def pivot_root(new: str, old: str) -> None:
    number = {"x86_64": 155, "aarch64": 41}[machine()]
    syscall(number, os.fsencode(new), os.fsencode(old))


def set_host_name(name: str) -> None:
    _check(_libc.sethostname(name.encode(), ctypes.c_size_t(len(name))), "sethostname")


def act_on_files_as(uid: int) -> None:
    """From now on the kernel checks file permissions for `uid` and its group, and for nobody else."""
    for name in ("setfsgid", "setfsuid"):
        getattr(_libc, name)(ctypes.c_uint32(uid))
        if getattr(_libc, name)(ctypes.c_uint32(0xFFFFFFFF)) != uid:  # it tells what is, and changes nothing
            raise OSError(errno.EPERM, f"{name}: {os.strerror(errno.EPERM)}")


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


_CAPABILITY_VERSION = 0x20080522
_CAPABILITIES = 64


def drop_capabilities() -> None:
    """Give up every capability, for good: also what a set-uid program could bring back."""
    for capability in range(_CAPABILITIES):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break  # the kernel knows no further ones
    header, nothing = _CapHeader(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(nothing)), "capset")


def syscall(number: int, *arguments: object) -> int:
    """A raw system call; arguments are ints, bytes or ctypes values."""
    passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _check(int(_libc.syscall(ctypes.c_long(number), *passed)), f"syscall {number}")


class OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08


def openat2(directory: int, name: bytes, flags: int, resolve: int) -> int:
    how = OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    return syscall(SYS_OPENAT2, directory, name, ctypes.byref(how), ctypes.sizeof(how))


def machine() -> str:
    """`x86_64` or `aarch64`; nothing else can be isolated: its system calls have other numbers."""
    return platform.machine()
