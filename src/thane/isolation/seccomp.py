"""The seccomp filter, as classic BPF made by hand for x86_64 and aarch64.

It builds bytes and can install them on the calling process. It knows nothing of jails:
the caller says with `Rules` what its tier needs beyond the common denials.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass

from thane.isolation import libc
from thane.isolation.syscalls import LAST_KNOWN, MACHINES, number

_LOAD = 0x20
_AND = 0x54
_JUMP_EQUAL = 0x15
_JUMP_AT_LEAST = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

_ALLOW = 0x7FFF0000
_ASK = 0x7FC00000  # whoever holds the filter's listener
_KILL_PROCESS = 0x80000000

_OFFSET_NUMBER = 0
_OFFSET_ARCHITECTURE = 4
_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

# Every namespace flag except CLONE_NEWTIME, whose bit is part of the exit signal in clone(2).
_NAMESPACE_FLAGS = 0x7E020000

_TIOCSTI = 0x5412
_TIOCLINUX = 0x541C
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_FILE_ATTRIBUTES = (0x6600, 0x5800)  # kinds of ioctl: flags, encryption, verity, project of a file
_KIND_OF_IOCTL = 0xFF00
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_F_SETLEASE, _F_NOTIFY = 1024, 1026
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_SEQPACKET, _KIND_OF_SOCKET = 1, 5, 0xF
_SOL_SOCKET, _BUFFER_SIZES = 1, (7, 8, 32, 33)  # SO_SNDBUF, SO_RCVBUF, and both with FORCE
_PR_SET_DUMPABLE = 4

# What no jail needs and what has been a way out of one, or a way to the host's clock,
# keys, memory placement or modules. `mknod` is not here: mkfifo needs it, and devices
# need a capability that nobody in a jail has.
_ALWAYS_DENIED = (
    "_sysctl acct add_key adjtimex bpf chroot clock_adjtime clock_settime delete_module fanotify_init"
    " finit_module fsconfig fsmount fsopen fspick get_mempolicy init_module io_uring_enter"
    " io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl listmount"
    " lookup_dcookie lsm_set_self_attr mbind memfd_secret migrate_pages modify_ldt mount"
    " mount_setattr move_mount move_pages name_to_handle_at nfsservctl open_by_handle_at open_tree"
    " open_tree_attr perf_event_open personality pidfd_getfd pivot_root process_madvise"
    " process_mrelease process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot"
    " request_key set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday"
    " statmount swapoff swapon sysfs syslog umount2 unshare uselib userfaultfd ustat vhangup vmsplice"
).split()

# Memory that no process maps is invisible to the watchdog; affinity could be undone.
_DENIED_WITHOUT_CGROUP = "memfd_create shmget semget msgget mq_open sched_setaffinity".split()

# The host's processes are in reach where there are no namespaces: nothing that names another process.
# Landlock does not guard inotify, nor who owns a file: an ordinary user's jail is that user.
_DENIED_WITHOUT_NAMESPACES = (
    "setpriority ioprio_set sched_setscheduler sched_setparam sched_setattr inotify_init inotify_init1"
    " inotify_add_watch fanotify_mark chown lchown fchown fchownat"
).split()

# The same for extended attributes; as on a file system that has none, which copying programs expect.
_EXTENDED_ATTRIBUTES = [
    f"{prefix}{action}xattr" for action in ("get", "set", "list", "remove") for prefix in ("", "l", "f")
]

# And for modes and times, which programs need: whoever holds the listener changes them
# where the files are the jail's own.
ATTENDED = "chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat".split()

# Landlock keeps signals inside from ABI 6 on; before that no signal may be sent at all.
_DENIED_WITHOUT_SIGNAL_SCOPE = "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal".split()


@dataclass(frozen=True)
class Rules:
    """What the filter must make up for in one tier."""

    cgroup: bool = True
    namespaces: bool = True
    signal_scope: bool = True
    attended: bool = True  # without namespaces: somebody answers for `ATTENDED`; else they are denied


class _Program:
    """Instructions in order; jumps are relative and only ever forward."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.instructions: list[bytes] = []

    def add(self, code: int, operand: int, if_true: int = 0, if_false: int = 0) -> None:
        self.instructions.append(struct.pack("<HBBI", code, if_true, if_false, operand))

    def load(self, offset: int) -> None:
        self.add(_LOAD, offset)

    def load_argument(self, index: int, *, high: bool = False) -> None:
        self.load(16 + 8 * index + (4 if high else 0))

    def ret(self, value: int) -> None:
        self.add(_RETURN, value)

    def answer(self, call: int, value: int) -> None:
        self.add(_JUMP_EQUAL, call, 0, 1)
        self.ret(value)

    def deny(self, call: int, error: int) -> None:
        self.answer(call, _refuse(error))

    def deny_argument(self, call: int, index: int, values: tuple[int, ...], *, allow: bool = False) -> None:
        """Refuse `call` if its argument is one of `values`; with `allow`, if it is none of them."""
        self.add(_JUMP_EQUAL, call, 0, len(values) + 3)
        self.load_argument(index)
        for position, value in enumerate(values):
            self.add(_JUMP_EQUAL, value, len(values) - position, 0)
        found, other = _refuse(errno.EPERM), _ALLOW
        if allow:
            found, other = other, found
        self.ret(other)
        self.ret(found)


def _refuse(error: int) -> int:
    return 0x00050000 | error


def _only_families(program: _Program, call: int, families: tuple[int, ...]) -> None:
    """Refuse `call` unless its first argument is one of `families`."""
    size = len(families) + 3
    program.add(_JUMP_EQUAL, call, 0, size)
    program.load_argument(0)
    for position, family in enumerate(families):
        program.add(_JUMP_EQUAL, family, len(families) - position, 0)
    program.ret(_refuse(errno.EAFNOSUPPORT))
    program.ret(_ALLOW)


def _only_connected_pairs(program: _Program, call: int) -> None:
    """A pair of streams leads nowhere, and asyncio wakes itself with one. A pair of datagram sockets
    can send to any address, a socket of the host's among them."""
    program.add(_JUMP_EQUAL, call, 0, 9)
    program.load_argument(0)
    program.add(_JUMP_EQUAL, _AF_UNIX, 1, 0)
    program.ret(_refuse(errno.EAFNOSUPPORT))
    program.load_argument(1)
    program.add(_AND, _KIND_OF_SOCKET)
    program.add(_JUMP_EQUAL, _SOCK_STREAM, 2, 0)
    program.add(_JUMP_EQUAL, _SOCK_SEQPACKET, 1, 0)
    program.ret(_refuse(errno.EPERM))
    program.ret(_ALLOW)


def _no_larger_buffers(program: _Program, call: int) -> None:
    """Sockets keep the size of buffer that the watchdog reckons with."""
    size = len(_BUFFER_SIZES)
    program.add(_JUMP_EQUAL, call, 0, size + 5)
    program.load_argument(1)
    program.add(_JUMP_EQUAL, _SOL_SOCKET, 0, size + 1)
    program.load_argument(2)
    for position, option in enumerate(_BUFFER_SIZES):
        program.add(_JUMP_EQUAL, option, size - position, 0)
    program.ret(_ALLOW)
    program.ret(_refuse(errno.EPERM))


def _denied(rules: Rules) -> list[str]:
    """Calls that fail with EPERM whatever their arguments."""
    found = list(_ALWAYS_DENIED)
    if not rules.cgroup:
        found += _DENIED_WITHOUT_CGROUP
    if not rules.namespaces:
        found += _DENIED_WITHOUT_NAMESPACES
        found += [] if rules.attended else ATTENDED
    if not rules.signal_scope:
        found += _DENIED_WITHOUT_SIGNAL_SCOPE
    return found


def build(rules: Rules, machine: str | None = None) -> bytes:
    """The filter's bytes for `machine` (this one if None). Raises ValueError on an unknown machine."""
    machine = machine or libc.machine()
    if machine not in MACHINES:
        raise ValueError(f"no seccomp filter for {machine}: known are {', '.join(MACHINES)}")

    def call(name: str) -> int:
        found = number(name, machine)
        if found is None:
            raise ValueError(f"{machine} has no call {name}")
        return found

    program = _Program(machine)
    program.load(_OFFSET_ARCHITECTURE)
    program.add(_JUMP_EQUAL, _AUDIT_ARCHITECTURE[machine], 1, 0)
    program.ret(_KILL_PROCESS)
    program.load(_OFFSET_NUMBER)
    if machine == "x86_64":
        program.add(_JUMP_AT_LEAST, _X32_BIT, 0, 1)
        program.ret(_KILL_PROCESS)

    for name in _denied(rules):
        found = number(name, machine)
        if found is not None:
            program.deny(found, errno.EPERM)
    # What is newer than this filter does not exist; programs fall back to what does.
    program.add(_JUMP_AT_LEAST, LAST_KNOWN + 1, 0, 1)
    program.ret(_refuse(errno.ENOSYS))
    # clone3 hides its flags in memory; ENOSYS makes the C library fall back to clone.
    program.deny(call("clone3"), errno.ENOSYS)

    program.add(_JUMP_EQUAL, call("clone"), 0, 4)
    program.load_argument(0)
    program.add(_JUMP_ANY_BIT, _NAMESPACE_FLAGS, 0, 1)
    program.ret(_refuse(errno.EPERM))
    program.ret(_ALLOW)

    if not rules.cgroup:
        _no_larger_buffers(program, call("setsockopt"))
    if rules.namespaces:
        program.deny_argument(call("ioctl"), 1, (_TIOCSTI, _TIOCLINUX))
        program.deny_argument(call("fcntl"), 1, (_F_SETLEASE,))
        for name in ("socket", "socketpair"):
            _only_families(program, call(name), (_AF_UNIX, _AF_INET, _AF_INET6))
    else:
        _guard_the_host(program, call, rules)
    program.ret(_ALLOW)
    return b"".join(program.instructions)


def _guard_the_host(program: _Program, call: Callable[[str], int], rules: Rules) -> None:
    """Without namespaces: what would reach the host's processes, sockets and files past Landlock."""
    _deny_ioctls(program, call("ioctl"))
    # A signal by way of a descriptor's owner is one that Landlock before ABI 6 does not see.
    # A lease on a file that may be read makes those wait who write to it.
    program.deny_argument(call("fcntl"), 1, (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETLEASE, _F_NOTIFY))
    # prlimit64 on any process but the caller would reach the host's.
    program.deny_argument(call("prlimit64"), 0, (0,), allow=True)
    # The watchdog reads the descriptors of the jail's processes.
    program.deny_argument(call("prctl"), 0, (_PR_SET_DUMPABLE,))
    program.deny(call("socket"), errno.EPERM)
    _only_connected_pairs(program, call("socketpair"))
    for name in _EXTENDED_ATTRIBUTES:
        program.deny(call(name), errno.EOPNOTSUPP)
    for name in ATTENDED if rules.attended else ():
        found = number(name, program.machine)
        if found is not None:
            program.answer(found, _ASK)


def _deny_ioctls(program: _Program, call: int) -> None:
    values = (_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP)
    size = len(values) + len(_FILE_ATTRIBUTES)
    program.add(_JUMP_EQUAL, call, 0, size + 4)
    program.load_argument(1)
    for position, value in enumerate(values):
        program.add(_JUMP_EQUAL, value, size + 1 - position, 0)
    program.add(_AND, _KIND_OF_IOCTL)
    for position, kind in enumerate(_FILE_ATTRIBUTES):
        program.add(_JUMP_EQUAL, kind, len(_FILE_ATTRIBUTES) - position, 0)
    program.ret(_ALLOW)
    program.ret(_refuse(errno.EPERM))


_SET_MODE_FILTER, _NEW_LISTENER = 1, 8


class _SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(program: bytes) -> None:
    """Bind the calling process and all its children to the filter, for good."""
    _install(program, 0)


def install_with_listener(program: bytes) -> int:
    """The same; answers the descriptor at which the calls that the filter asks about can be answered.

    Raises OSError with EBUSY if a filter further out has a listener already: there can be one only.
    """
    return _install(program, _NEW_LISTENER)


def _install(program: bytes, flags: int) -> int:
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    buffer = ctypes.create_string_buffer(program, len(program))
    structure = _SockFprog(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    return libc.syscall(libc.SYS_SECCOMP[libc.machine()], _SET_MODE_FILTER, flags, ctypes.byref(structure))
