"""How one jail comes to be, in forks of the zygote: three short lives.

The *midwife* joins the job's control group, takes the namespaces and ends. The *first
process*, process 1 of the new namespace, mounts what is the jail's own, gives up every
right, forks the program's process and supervises it (`jailed.supervise`). The
*program's process* waits for its job, binds itself to limits and filter, and returns
from here to become the program. Until then nobody untrusted is in the jail.
"""

from __future__ import annotations

import fcntl
import gc
import marshal
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from thane.isolation import agent, jailed, libc, root, seccomp, spawn

_NAMESPACES = (
    libc.CLONE_NEWNS
    | libc.CLONE_NEWUTS
    | libc.CLONE_NEWIPC
    | libc.CLONE_NEWPID
    | libc.CLONE_NEWNET
    | libc.CLONE_NEWCGROUP
)
_QUIET = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
_CLOSED_IN_PROC = ("sys", "irq", "bus", "sysrq-trigger")
TREES = (root.WORKSPACE, "/tmp", "/dev/shm", root.CODE)
STREAMS = ("status", "control", "plan", "stdout", "stderr", "diagnostics")
JAIL_UID = 1000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_MOST_PLAN = 4096
_TCP_BUFFERS = "4096 16384 212992"  # least, first, most

Program = Callable[[], None]


@dataclass(frozen=True)
class Order:
    """What the isolation program asks for, with the descriptors that came along."""

    uid: int  # the jail's, in the zygote's user namespace
    filter: bytes
    last_filter: bytes  # installed once the job is known; empty if there is none
    agent: bool  # a stateful sandbox's jail, with an agent instead of a program
    packages: bool  # there is a tree of installed packages
    imports: tuple[str, ...]  # to be imported ahead of the job
    rlimits: tuple[tuple[int, int], ...]  # to be taken on ahead of the job; if it imports anything
    processors: tuple[int, ...]  # the same
    streams: dict[str, int]
    trees: tuple[int, ...]
    groups: tuple[int, ...]

    @classmethod
    def parse(cls, message: bytes, descriptors: list[int]) -> Order:
        said = marshal.loads(message)
        streams = dict(zip(STREAMS, descriptors, strict=False))
        rest = descriptors[len(STREAMS) :]
        trees = len(TREES) + said["packages"]
        return cls(
            said["uid"],
            said["filter"],
            said["last_filter"],
            said["agent"],
            said["packages"],
            said["imports"],
            said["rlimits"],
            said["processors"],
            streams,
            tuple(rest[:trees]),
            tuple(rest[trees:]),
        )

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (*self.streams.values(), *self.trees, *self.groups)


def midwife(order: Order) -> Program:
    """In a fork of the zygote. Returns in the program's process only."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(order.streams["diagnostics"], 2)
    spawn.close_all_but(order.descriptors)
    libc.prctl(libc.PR_SET_DUMPABLE, 1)
    spawn.be_first_to_go()
    for group in order.groups:
        os.write(group, b"0")
    libc.unshare(_NAMESPACES)
    gate_read, gate_write = os.pipe()
    pid = os.fork()
    if pid != 0:
        os.write(order.streams["status"], f"pid {pid}\n".encode())
        os._exit(0)
    # The midwife's end makes us the isolation program's own child.
    os.close(gate_write)
    os.read(gate_read, 1)
    os.close(gate_read)
    return _first_process(order)


def _furnish(order: Order) -> None:
    """Mount what is this jail's own, and bring its loopback up."""
    libc.mount("proc", "/proc", "proc", _QUIET)
    options = "newinstance,ptmxmode=0666,mode=620"
    libc.mount("devpts", "/dev/pts", "devpts", libc.MS_NOSUID | libc.MS_NOEXEC, options)
    # The last is there with a template only; it is read-only already.
    for tree, target in zip(order.trees, (*TREES, root.PACKAGES), strict=False):
        libc.hang_tree(tree, target)
        os.close(tree)
    flags = libc.MS_NOSUID | libc.MS_NODEV
    libc.mount(None, root.CODE, None, libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY | flags)
    if not order.groups:
        # Without a control group the watchdog takes each socket for full: its buffers may not grow.
        for name in ("tcp_rmem", "tcp_wmem"):
            _write(f"/proc/sys/net/ipv4/{name}", _TCP_BUFFERS)
    for name in _CLOSED_IN_PROC:
        path = f"/proc/{name}"
        if os.path.exists(path):
            libc.mount(path, path, None, libc.MS_BIND | libc.MS_REC)
            libc.mount(None, path, None, libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY | _QUIET)
    libc.set_host_name("sandbox")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loopback:
        now = fcntl.ioctl(loopback, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        (flags,) = struct.unpack_from("h", now, 16)
        fcntl.ioctl(loopback, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _give_up_rights(uid: int) -> None:
    """Become `uid`, seen as 1000 in a user namespace of the jail's own, without a capability."""
    if uid != 0:
        spawn.take_identity(uid)
    libc.prctl(libc.PR_SET_DUMPABLE, 1)  # or /proc/self/uid_map would be root's
    libc.unshare(libc.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{JAIL_UID} {uid} 1"),
        ("gid_map", f"{JAIL_UID} {uid} 1"),
    ):
        _write(f"/proc/self/{name}", text)
    libc.drop_capabilities()
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _first_process(order: Order) -> Program:
    libc.set_process_name("thane-jail")
    os.setsid()
    for group in order.groups:
        os.close(group)
    _furnish(order)
    _give_up_rights(order.uid)
    if order.agent:
        return _become_agent(order)
    streams = order.streams
    gate_read, gate_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(gate_write)
        return _await_job(order, gate_read)
    # Not dumpable: the program cannot open /proc/1/fd, /proc/1/mem or /proc/1/environ.
    jailed.set_dumpable(0)
    _ignore_signals()
    spawn.close_all_but((streams["control"], streams["status"], gate_write))
    for name in (0, 1):
        os.dup2(2, name)
    _install(order.filter, order.last_filter)
    os.write(streams["status"], b"ready\n")
    os.close(gate_write)

    def readable_again() -> None:
        # Everything else is dead: /proc/self/io may be opened again.
        jailed.set_dumpable(1)

    jailed.supervise(child, streams["control"], streams["status"], jailed.kill_namespace, readable_again)
    os._exit(0)


def _become_agent(order: Order) -> Program:
    streams = order.streams
    jailed.set_dumpable(0)
    _ignore_signals()
    spawn.close_all_but((streams["control"], streams["status"]))
    nothing = os.open("/dev/null", os.O_RDWR)
    for name in (0, 1, 2):
        os.dup2(nothing, name)
    os.close(nothing)
    _install(order.filter, order.last_filter)  # its processors are chosen from outside
    os.write(streams["status"], b"ready\n")
    os.close(streams["status"])
    return agent.Agent(streams["control"]).serve()


def _install(*filters: bytes) -> None:
    for program in filters:
        if program:
            seccomp.install(program)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)


def _await_job(order: Order, gate: int) -> Program:
    """In the program's process: be ready in all that does not depend on the job, then wait for it.

    Ends if none comes. `gate` closes when the first process cannot be looked into any more.
    """
    os.setsid()
    streams = order.streams
    spawn.close_all_but((streams["plan"], streams["stdout"], streams["stderr"], gate))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _install(order.filter)
    jailed.forget_machinery()
    jailed.main_module(root.WORKSPACE)
    jailed.warm_up()
    os.read(gate, 1)
    os.close(gate)
    channel = socket.socket(fileno=streams["plan"])
    if order.packages:
        sys.path.append(root.PACKAGES)  # after everything else that is imported from
    if order.imports:
        _import_ahead(order, channel)
    message, descriptors, _, _ = socket.recv_fds(channel, _MOST_PLAN, 2)
    if not message:
        os._exit(0)
    stdin, plan = descriptors
    spec: dict[str, Any] = marshal.loads(os.pread(plan, os.fstat(plan).st_size, 0))
    if not order.imports:
        _bind(spec["rlimits"], spec["processors"], order.last_filter)
    for source, target in ((stdin, 0), (streams["stdout"], 1), (streams["stderr"], 2)):
        os.dup2(source, target)
    for descriptor in (channel.detach(), stdin, plan, streams["stdout"], streams["stderr"]):
        os.close(descriptor)
    gc.enable()
    return lambda: jailed.run(spec, prepared=True)


def _bind(rlimits: Sequence[tuple[int, int]], processors: Sequence[int], last_filter: bytes) -> None:
    for number, value in rlimits:
        resource.setrlimit(number, (value, value))
    if processors:
        os.sched_setaffinity(0, processors)
    _install(last_filter)


def _import_ahead(order: Order, channel: socket.socket) -> None:
    """Import a template's packages, in silence and bound by all limits. Nobody is to believe what it says."""
    _bind(order.rlimits, order.processors, order.last_filter)
    nothing = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(nothing, target)
    os.close(nothing)
    gc.enable()
    jailed.import_ahead(order.imports)
    channel.send(b"imported")
