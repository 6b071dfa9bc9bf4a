"""The seccomp filter's instructions, run as the kernel would run them, for both machines."""

from __future__ import annotations

import errno
import struct

import pytest

from thane.isolation import seccomp
from thane.isolation.seccomp import Rules
from thane.isolation.syscalls import LAST_KNOWN, MACHINES, number

KILL, ALLOW, ASK = 0x80000000, 0x7FFF0000, 0x7FC00000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CONFINED = Rules(cgroup=False, namespaces=False)


def execute(program: bytes, machine: str, call: int, *arguments: int) -> int:
    """Run the filter's instructions as the kernel would; answers what it returns."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", call, ARCHITECTURES[machine], 0, *padded)
    instructions = list(struct.iter_unpack("<HBBI", program))
    position, accumulator = 0, 0
    while True:
        code, if_true, if_false, operand = instructions[position]
        position += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x06:
            return int(operand)
        else:
            tests = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: accumulator & operand}
            position += if_true if tests[code] else if_false


def denied(error: int) -> int:
    return 0x00050000 | error


@pytest.mark.parametrize("machine", MACHINES)
class TestFilter:
    def call(self, machine: str, name: str, *arguments: int, rules: Rules | None = None) -> int:
        found = number(name, machine)
        if found is None:
            pytest.skip(f"{machine} has no {name}")
        return execute(seccomp.build(rules or Rules(), machine), machine, found, *arguments)

    def test_another_architecture_is_killed(self, machine: str) -> None:
        other = next(name for name in MACHINES if name != machine)
        assert execute(seccomp.build(Rules(), machine), other, 0) == KILL

    def test_the_x32_calls_are_killed(self, machine: str) -> None:
        expected = KILL if machine == "x86_64" else denied(errno.ENOSYS)
        assert execute(seccomp.build(Rules(), machine), machine, 0x40000000 + 39) == expected

    @pytest.mark.parametrize(
        "name", ["ptrace", "mount", "bpf", "unshare", "setns", "keyctl", "io_uring_setup"]
    )
    def test_what_nobody_needs_is_denied(self, machine: str, name: str) -> None:
        assert self.call(machine, name) == denied(errno.EPERM)

    def test_an_ordinary_call_passes(self, machine: str) -> None:
        write = {"x86_64": 1, "aarch64": 64}[machine]
        assert execute(seccomp.build(Rules(), machine), machine, write, 1) == ALLOW

    def test_clone3_is_not_there_and_clone_makes_no_namespace(self, machine: str) -> None:
        assert self.call(machine, "clone3") == denied(errno.ENOSYS)
        assert self.call(machine, "clone", 17) == ALLOW
        for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert self.call(machine, "clone", flag | 17) == denied(errno.EPERM)

    def test_terminals_cannot_be_typed_into(self, machine: str) -> None:
        assert self.call(machine, "ioctl", 0, 0x5412) == denied(errno.EPERM)
        assert self.call(machine, "ioctl", 0, 0x541C) == denied(errno.EPERM)
        assert self.call(machine, "ioctl", 0, 0x5401) == ALLOW

    @pytest.mark.parametrize("name", ["socket", "socketpair"])
    def test_only_three_families_of_sockets(self, machine: str, name: str) -> None:
        for family in range(64):
            expected = ALLOW if family in (1, 2, 10) else denied(errno.EAFNOSUPPORT)
            assert self.call(machine, name, family) == expected

    def test_without_namespaces_there_are_no_sockets_and_only_own_limits(self, machine: str) -> None:
        for family in (1, 2, 10, 16):
            assert self.call(machine, "socket", family, rules=CONFINED) == denied(errno.EPERM)
        assert self.call(machine, "prlimit64", 0, rules=CONFINED) == ALLOW
        assert self.call(machine, "prlimit64", 4711, rules=CONFINED) == denied(errno.EPERM)

    def test_without_namespaces_only_pairs_that_lead_nowhere(self, machine: str) -> None:
        flags = 0o2000000 | 0o4000  # close on exec, non-blocking
        for kind in range(16):
            expected = ALLOW if kind in (1, 5) else denied(errno.EPERM)
            assert self.call(machine, "socketpair", 1, kind, rules=CONFINED) == expected
            assert self.call(machine, "socketpair", 1, kind | flags, rules=CONFINED) == expected
        assert self.call(machine, "socketpair", 2, 1, rules=CONFINED) == denied(errno.EAFNOSUPPORT)
        assert self.call(machine, "socketpair", 1, 2) == ALLOW, "in a network of its own it leads nowhere too"

    def test_without_namespaces_no_descriptor_sends_signals(self, machine: str) -> None:
        for command in (8, 10, 15, 1026):
            assert self.call(machine, "fcntl", 5, command, 4711, rules=CONFINED) == denied(errno.EPERM)
            assert self.call(machine, "fcntl", 5, command, 4711) == ALLOW
        assert self.call(machine, "fcntl", 5, 1, rules=CONFINED) == ALLOW
        for request in (0x8901, 0x8902):
            assert self.call(machine, "ioctl", 5, request, rules=CONFINED) == denied(errno.EPERM)

    def test_nobody_leases_a_file(self, machine: str) -> None:
        for rules in (Rules(), CONFINED):
            assert self.call(machine, "fcntl", 5, 1024, 0, rules=rules) == denied(errno.EPERM)
            assert self.call(machine, "fcntl", 5, 6, 0, rules=rules) == ALLOW, "locks are for all"

    def test_without_namespaces_files_keep_their_attributes(self, machine: str) -> None:
        for name in ("chown", "lchown", "fchown", "fchownat", "inotify_init1", "inotify_add_watch"):
            assert self.call_or(machine, name, denied(errno.EPERM), CONFINED) == denied(errno.EPERM)
            assert self.call_or(machine, name, ALLOW, Rules()) == ALLOW
        for name in ("setxattr", "fsetxattr", "lgetxattr", "flistxattr", "removexattr"):
            assert self.call(machine, name, rules=CONFINED) == denied(errno.EOPNOTSUPP)
        for request in (0x40086602, 0x401C5820, 0x40806685, 0x800C6613):  # flags, project, verity, encryption
            assert self.call(machine, "ioctl", 5, request, rules=CONFINED) == denied(errno.EPERM)
        for request in (0x5401, 0x541B, 0x5421):
            assert self.call(machine, "ioctl", 5, request, rules=CONFINED) == ALLOW

    def test_without_namespaces_modes_and_times_are_asked_for(self, machine: str) -> None:
        nobody = Rules(cgroup=False, namespaces=False, attended=False)
        for name in seccomp.ATTENDED:
            assert self.call_or(machine, name, ASK, CONFINED) == ASK
            assert self.call_or(machine, name, denied(errno.EPERM), nobody) == denied(errno.EPERM)
            assert self.call_or(machine, name, ALLOW, Rules()) == ALLOW

    def call_or(self, machine: str, name: str, missing: int, rules: Rules) -> int:
        """`missing` where the machine has no such call."""
        found = number(name, machine)
        return missing if found is None else execute(seccomp.build(rules, machine), machine, found)

    def test_without_namespaces_no_process_hides_from_the_watchdog(self, machine: str) -> None:
        assert self.call(machine, "prctl", 4, 0, rules=CONFINED) == denied(errno.EPERM)
        assert self.call(machine, "prctl", 15, rules=CONFINED) == ALLOW
        assert self.call(machine, "prctl", 4, 0) == ALLOW

    def test_without_a_cgroup_no_memory_escapes_the_watchdog(self, machine: str) -> None:
        for name in ("memfd_create", "shmget", "semget", "msgget", "mq_open", "sched_setaffinity"):
            assert self.call(machine, name) == ALLOW
            assert self.call(machine, name, rules=Rules(cgroup=False)) == denied(errno.EPERM)

    def test_without_a_cgroup_sockets_keep_their_size(self, machine: str) -> None:
        rules = Rules(cgroup=False)
        for option in range(64):
            expected = denied(errno.EPERM) if option in (7, 8, 32, 33) else ALLOW
            assert self.call(machine, "setsockopt", 5, 1, option, rules=rules) == expected
            assert self.call(machine, "setsockopt", 5, 6, option, rules=rules) == ALLOW, "another level"
            assert self.call(machine, "setsockopt", 5, 1, option) == ALLOW

    def test_what_is_newer_than_the_filter_is_not_there(self, machine: str) -> None:
        for rules in (Rules(), CONFINED):
            program = seccomp.build(rules, machine)
            assert execute(program, machine, LAST_KNOWN) == ALLOW
            for call in (LAST_KNOWN + 1, 469, 500, 1000):
                assert execute(program, machine, call) == denied(
                    errno.EPERM if call == number("open_tree_attr", machine) else errno.ENOSYS
                )

    def test_without_landlocks_signal_scope_no_signal_is_sent(self, machine: str) -> None:
        assert self.call(machine, "kill", 1, 9) == ALLOW
        assert self.call(machine, "kill", 1, 9, rules=Rules(signal_scope=False)) == denied(errno.EPERM)

    def test_every_jump_stays_inside(self, machine: str) -> None:
        """Each number that is named anywhere ends at a return, whatever its arguments are."""
        program = seccomp.build(Rules(cgroup=False, namespaces=False, signal_scope=False), machine)
        assert len(program) // 8 < 4096
        for call in range(500):
            for argument in (0, 1, 2, 10, 17, 0x10000000, 0x5412, 0x40086602, 0xFFFFFFFF):
                execute(program, machine, call, argument, argument, argument)


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.build(Rules(), "riscv64")
