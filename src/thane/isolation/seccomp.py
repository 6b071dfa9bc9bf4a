"""The seccomp filter, as classic BPF made by hand for x86_64 and aarch64.

It builds bytes and can install them on the calling process. It knows nothing of jails:
the caller says with `Rules` what its tier needs beyond the common denials.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import struct
from dataclasses import dataclass

from thane.isolation import libc
from thane.isolation.syscalls import MACHINES, number

_LOAD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_AT_LEAST = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000

_OFFSET_NUMBER = 0
_OFFSET_ARCHITECTURE = 4
_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

# Every namespace flag except CLONE_NEWTIME, whose bit is part of the exit signal in clone(2).
_NAMESPACE_FLAGS = 0x7E020000

_TIOCSTI = 0x5412
_TIOCLINUX = 0x541C
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10

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

# Memory that no process maps is invisible to the watchdog.
_DENIED_WITHOUT_CGROUP = ("memfd_create", "shmget")
# Where no group shares processors out a job is bound to some, which it could undo.
_BINDING = ("sched_setaffinity",)

# The host's processes are in reach where there are no namespaces: nothing that names another process.
_DENIED_WITHOUT_NAMESPACES = (
    "semget msgget mq_open setpriority ioprio_set sched_setscheduler sched_setparam sched_setattr"
).split()

# Landlock keeps signals inside from ABI 6 on; before that no signal may be sent at all.
_DENIED_WITHOUT_SIGNAL_SCOPE = "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal".split()


@dataclass(frozen=True)
class Rules:
    """What the filter must make up for in one tier."""

    cgroup: bool = True
    namespaces: bool = True
    signal_scope: bool = True
    binding: bool = False  # processors may still be chosen: `build_binding` follows


class _Program:
    """Instructions in order; jumps are relative and only ever forward."""

    def __init__(self) -> None:
        self.instructions: list[bytes] = []

    def add(self, code: int, operand: int, if_true: int = 0, if_false: int = 0) -> None:
        self.instructions.append(struct.pack("<HBBI", code, if_true, if_false, operand))

    def load(self, offset: int) -> None:
        self.add(_LOAD, offset)

    def load_argument(self, index: int, *, high: bool = False) -> None:
        self.load(16 + 8 * index + (4 if high else 0))

    def ret(self, value: int) -> None:
        self.add(_RETURN, value)

    def deny(self, call: int, error: int) -> None:
        self.add(_JUMP_EQUAL, call, 0, 1)
        self.ret(_refuse(error))


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


def _own_limits_only(program: _Program, call: int) -> None:
    """prlimit64 on any process but the caller would reach the host's, where there are no namespaces."""
    program.add(_JUMP_EQUAL, call, 0, 4)
    program.load_argument(0)
    program.add(_JUMP_EQUAL, 0, 1, 0)
    program.ret(_refuse(errno.EPERM))
    program.ret(_ALLOW)


def _begin(machine: str) -> _Program:
    """What every filter begins with; the call's number is loaded then."""
    program = _Program()
    program.load(_OFFSET_ARCHITECTURE)
    program.add(_JUMP_EQUAL, _AUDIT_ARCHITECTURE[machine], 1, 0)
    program.ret(_KILL_PROCESS)
    program.load(_OFFSET_NUMBER)
    if machine == "x86_64":
        program.add(_JUMP_AT_LEAST, _X32_BIT, 0, 1)
        program.ret(_KILL_PROCESS)
    return program


def build_binding() -> bytes:
    """A short filter that only forbids to choose other processors. To be installed behind a `binding` one."""
    machine = libc.machine()
    program = _begin(machine)
    for name in _BINDING:
        found = number(name, machine)
        assert found is not None, "every machine has it"
        program.deny(found, errno.EPERM)
    program.ret(_ALLOW)
    return b"".join(program.instructions)


@functools.cache
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

    program = _begin(machine)
    # clone3 hides its flags in memory; ENOSYS makes the C library fall back to clone.
    program.deny(call("clone3"), errno.ENOSYS)
    denied = list(_ALWAYS_DENIED)
    if not rules.cgroup:
        denied += _DENIED_WITHOUT_CGROUP
        if not rules.binding:
            denied += _BINDING
    if not rules.namespaces:
        denied += _DENIED_WITHOUT_NAMESPACES
    if not rules.signal_scope:
        denied += _DENIED_WITHOUT_SIGNAL_SCOPE
    for name in denied:
        found = number(name, machine)
        if found is not None:
            program.deny(found, errno.EPERM)

    program.add(_JUMP_EQUAL, call("clone"), 0, 4)
    program.load_argument(0)
    program.add(_JUMP_ANY_BIT, _NAMESPACE_FLAGS, 0, 1)
    program.ret(_refuse(errno.EPERM))
    program.ret(_ALLOW)

    program.add(_JUMP_EQUAL, call("ioctl"), 0, 5)
    program.load_argument(1)
    program.add(_JUMP_EQUAL, _TIOCSTI, 1, 0)
    program.add(_JUMP_EQUAL, _TIOCLINUX, 0, 1)
    program.ret(_refuse(errno.EPERM))
    program.ret(_ALLOW)

    if rules.namespaces:
        for name in ("socket", "socketpair"):
            _only_families(program, call(name), (_AF_UNIX, _AF_INET, _AF_INET6))
    else:
        # No socket at all; a connected pair leads nowhere and asyncio wakes itself with one.
        program.deny(call("socket"), errno.EPERM)
        _only_families(program, call("socketpair"), (_AF_UNIX,))
        _own_limits_only(program, call("prlimit64"))
    program.ret(_ALLOW)
    return b"".join(program.instructions)


class _SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(program: bytes) -> None:
    """Bind the calling process and all its children to the filter, for good."""
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    buffer = ctypes.create_string_buffer(program, len(program))
    structure = _SockFprog(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc.prctl(libc.PR_SET_SECCOMP, 2, ctypes.byref(structure))
