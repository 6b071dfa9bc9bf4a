"""The first process of a stateful sandbox's jail, and the interpreters of its contexts.

The *agent* is process 1: it forks a process per context (or per shell command), hands
the isolation program a pidfd of each, tells how each has ended, and ends everything
when its channel closes. It is trusted and holds nothing of any execution. A *context*
is one interpreter whose variables survive; the isolation program sends it one
execution after the other over a channel of its own. What a context says is not
trusted: it can only end its own execution early.
"""

from __future__ import annotations

import marshal
import os
import resource
import select
import signal
import socket
import sys
import types
from collections.abc import Callable
from typing import Any, TextIO

from thane.isolation import jailed, spawn

_MOST_ORDER = 1 << 20
_INTERRUPTED = 128 + signal.SIGINT

Program = Callable[[], None]


class Agent:
    def __init__(self, control: int) -> None:
        self._channel = socket.socket(fileno=control)
        self._numbers: dict[int, int] = {}  # pid → the number that the isolation program gave it
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> Program:
        """The agent's life. Returns in a new process only."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the wake-up descriptor is what counts
        poller = select.poll()
        for descriptor in (self._channel.fileno(), self._wake_read):
            poller.register(descriptor, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poller.poll()]
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._channel.fileno() in ready:
                message, descriptors, _, _ = socket.recv_fds(self._channel, _MOST_ORDER, 4)
                if not message:
                    self._end()
                program = self._begin(marshal.loads(message), descriptors)
                if program is not None:
                    return program

    def _begin(self, order: dict[str, Any], descriptors: list[int]) -> Program | None:
        child = os.fork()
        if child == 0:
            return _settle(self, order, descriptors)
        self._numbers[child] = order["number"]
        for descriptor in descriptors:
            os.close(descriptor)
        pidfd = os.pidfd_open(child)
        socket.send_fds(self._channel, [b"began %d" % order["number"]], [pidfd])
        os.close(pidfd)
        return None

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._numbers:
                cpu_us = int((usage.ru_utime + usage.ru_stime) * 1e6)
                told = (self._numbers.pop(pid), status, cpu_us, usage.ru_maxrss * 1024)
                self._channel.send(b"ended %d %d %d %d" % told)

    def _end(self) -> None:
        jailed.kill_namespace()
        while True:
            try:
                os.wait()
            except ChildProcessError:
                os._exit(0)


def _settle(agent: Agent, order: dict[str, Any], descriptors: list[int]) -> Program:
    """In a new process: leave the agent behind and become a context, or a command."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # First the agent's channel goes: another process of the sandbox could write to our memory once it may
    # look at us, and would speak for the agent.
    kept = descriptors if order["kind"] == "context" else ()
    if order["kind"] == "command":
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
    spawn.close_all_but(kept)
    jailed.set_dumpable(1)
    os.setsid()
    for number, value in order["rlimits"]:
        resource.setrlimit(number, (value, value))
    if order["kind"] == "command":
        signal.signal(signal.SIGINT, signal.default_int_handler)
        jailed.forget_machinery()
        return lambda: jailed.run(order)
    (channel,) = descriptors
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["workspace"])
    jailed.forget_machinery()
    return lambda: run_cells(channel, order["workspace"])


def run_cells(channel_descriptor: int, workspace: str) -> None:
    """A context's life: one execution after the other, in one module's names."""
    channel = socket.socket(fileno=channel_descriptor)
    me, nothing = os.getpid(), os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    module = jailed.main_module(workspace)
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, 64, 4)
        if not message:
            os._exit(0)
        with open(descriptors[3], "rb") as plan:
            said = marshal.loads(plan.read())
        for target, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, target)
            os.close(descriptor)
        sys.stdin = _standard_input()
        os.environ.update(said["env"])
        code = _run_cell(said["code"], module)
        _flush()
        if os.getpid() != me:
            os._exit(code)  # a child that the code forked and let run on
        for target in range(3):
            os.dup2(nothing, target)
        channel.send(b"done %d %d" % (int(message), code))


def _standard_input() -> TextIO:
    return open(0, encoding="utf-8", closefd=False)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # the code has closed or replaced it: there is nothing to flush


def _run_cell(source: bytes, module: types.ModuleType) -> int:
    """The exit code that a program would have ended with."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            exec(compile(source, jailed.SOURCE_NAME, "exec", dont_inherit=True), module.__dict__)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return (leaving.code or 0) & 0xFF
        sys.stderr.write(f"{leaving.code}\n")
        return 1
    except BaseException as error:  # whatever the code raises is shown, and the context lives on
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        jailed.show_error(source, error)
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return 0
