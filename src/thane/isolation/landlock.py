"""Landlock: what the file system and the rest of the host look like in tier T1.

Makes a ruleset and binds the calling process to it. Which paths are allowed is the
caller's affair.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable

from thane.isolation import libc

_CREATE_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_MAKE_CHAR = 1 << 6
_MAKE_BLOCK = 1 << 11
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15

_FIRST_ABI_BITS = (1 << 13) - 1
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_NET_TCP = 0b11  # bind and connect, from ABI 4
_SCOPES = 0b11  # abstract Unix sockets and signals, from ABI 6

SIGNAL_SCOPE_ABI = 6


class _RulesetAttribute(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def abi() -> int:
    """Landlock's version on this kernel; 0 where there is none."""
    try:
        return libc.syscall(libc.SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def _handled(version: int) -> int:
    bits = _FIRST_ABI_BITS
    if version >= 2:
        bits |= _REFER
    if version >= 3:
        bits |= _TRUNCATE
    if version >= 5:
        bits |= _IOCTL_DEV
    return bits


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FILE_RIGHTS
        rule = _PathBeneath(rights, descriptor)
        libc.syscall(libc.SYS_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)


def make_ruleset(
    *, readable: Iterable[str], listable: Iterable[str], writable: Iterable[str], devices: Iterable[str]
) -> int:
    """A ruleset's descriptor: `readable` may be read and executed, `writable` used freely, `devices` opened.

    `listable` folders, and those below them, may be listed and nothing more.

    Paths that do not exist are left out: what is not named is denied anyway.
    """
    version = abi()
    handled = _handled(version)
    attribute = _RulesetAttribute(
        handled, _NET_TCP if version >= 4 else 0, _SCOPES if version >= SIGNAL_SCOPE_ABI else 0
    )
    size = 8 if version < 4 else 16 if version < SIGNAL_SCOPE_ABI else 24
    ruleset = libc.syscall(
        libc.SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(attribute), ctypes.c_size_t(size), 0
    )
    free = handled & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV)
    for paths, rights in (
        (readable, _EXECUTE | _READ_FILE | _READ_DIR),
        (listable, _READ_DIR),
        (writable, free),
        (devices, _READ_FILE | _WRITE_FILE),
    ):
        for path in paths:
            if os.path.exists(path):
                _allow(ruleset, path, rights & handled)
    return ruleset


def restrict(ruleset: int) -> None:
    """Bind the calling process and its children to `ruleset`, for good."""
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    libc.syscall(libc.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
