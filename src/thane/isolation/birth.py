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
from collections.abc import Callable
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
    agent: bool  # a stateful sandbox's jail, with an agent instead of a program
    streams: dict[str, int]
    trees: tuple[int, ...]
    groups: tuple[int, ...]

    @classmethod
    def parse(cls, message: bytes, descriptors: list[int]) -> Order:
        said = marshal.loads(message)
        streams = dict(zip(STREAMS, descriptors, strict=False))
        rest = descriptors[len(STREAMS) :]
        return cls(
            said["uid"],
            said["filter"],
            said["agent"],
            streams,
            tuple(rest[: len(TREES)]),
            tuple(rest[len(TREES) :]),
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
    for tree, target in zip(order.trees, TREES, strict=True):
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
        os.read(gate_read, 1)  # until the first process cannot be looked into
        return _await_job(order)
    # Not dumpable: the program cannot open /proc/1/fd, /proc/1/mem or /proc/1/environ.
    jailed.set_dumpable(0)
    _ignore_signals()
    spawn.close_all_but((streams["control"], streams["status"], gate_write))
    for name in (0, 1):
        os.dup2(2, name)
    seccomp.install(order.filter)
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
    seccomp.install(order.filter)
    os.write(streams["status"], b"ready\n")
    os.close(streams["status"])
    return agent.Agent(streams["control"]).serve()


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)


def _await_job(order: Order) -> Program:
    """In the program's process: wait for a job, and be ready to run it. Ends if none comes."""
    os.setsid()
    channel = socket.socket(fileno=os.dup(order.streams["plan"]))
    os.dup2(order.streams["stdout"], 1)
    message, descriptors, _, _ = socket.recv_fds(channel, _MOST_PLAN, 2)
    if not message:
        os._exit(0)
    stdin, plan = descriptors
    os.dup2(stdin, 0)
    with open(plan, "rb", closefd=False) as file:
        spec: dict[str, Any] = marshal.loads(file.read())
    os.dup2(order.streams["stderr"], 2)
    channel.detach()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for number, value in spec["rlimits"]:
        resource.setrlimit(number, (value, value))
    if spec["processors"]:
        os.sched_setaffinity(0, spec["processors"])
    seccomp.install(order.filter)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    jailed.forget_machinery()
    gc.enable()
    return lambda: jailed.run(spec)
