"""Runs a program for which the kernel refuses new namespaces, as some containers and hosts do.

    python3 deny_namespaces.py PROGRAM ARGUMENT…

A seccomp filter, inherited by every child: `unshare`, `setns` and `clone` with a namespace
flag fail with EPERM; `clone3`, whose flags a filter cannot read, fails with ENOSYS, upon which
C libraries fall back to `clone`. Standard library only: it runs inside the fresh Debian.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_BITS: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_KILL: Final = 0x80000000

# NEWTIME is left out: for `clone` its bit belongs to the exit signal.
_CLONE_NEW: Final = 0x7E020000  # NS, CGROUP, UTS, IPC, USER, PID, NET

# Machine → AUDIT_ARCH, and the numbers of unshare, setns, clone, clone3.
_MACHINES: Final = {
    "x86_64": (0xC000003E, 272, 308, 56, 435),
    "aarch64": (0xC00000B7, 97, 268, 220, 435),
}


def _instruction(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, when_true, when_false, value)


def build_filter(machine: str) -> bytes:
    """The BPF program for a machine as `platform.machine()` names it."""
    arch, unshare, setns, clone, clone3 = _MACHINES[machine]
    return b"".join(
        (
            _instruction(_LOAD, 4),  # 0: seccomp_data.arch
            _instruction(_JUMP_EQUAL, arch, 1, 0),  # 1
            _instruction(_RETURN, _KILL),  # 2
            _instruction(_LOAD, 0),  # 3: seccomp_data.nr
            _instruction(_JUMP_EQUAL, unshare, 6, 0),  # 4 → 11
            _instruction(_JUMP_EQUAL, setns, 5, 0),  # 5 → 11
            _instruction(_JUMP_EQUAL, clone3, 5, 0),  # 6 → 12
            _instruction(_JUMP_EQUAL, clone, 0, 2),  # 7 → 8 or 10
            _instruction(_LOAD, 16),  # 8: low word of the first argument, clone's flags
            _instruction(_JUMP_BITS, _CLONE_NEW, 1, 0),  # 9 → 11 or 10
            _instruction(_RETURN, _ALLOW),  # 10
            _instruction(_RETURN, _ERRNO | errno.EPERM),  # 11
            _instruction(_RETURN, _ERRNO | errno.ENOSYS),  # 12
        )
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def deny() -> None:
    """Installs the filter in this process for good."""
    code = build_filter(platform.machine())
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, f"prctl({arguments[0]}): {os.strerror(number)}")


if __name__ == "__main__":
    deny()
    os.execvp(sys.argv[1], sys.argv[1:])
