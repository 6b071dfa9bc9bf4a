"""One stateful sandbox, seen from the isolation program: its jail, its agent, its contexts.

It opens and ends processes in the jail and hears how they ended; it watches the whole
jail's memory. What runs in a context, and for how long, is `cell`'s affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thane.isolation import accounting, launch, root
from thane.isolation.cgroups import GroupLimits
from thane.isolation.host import Host
from thane.isolation.monitor import Monitor
from thane.isolation.nursery import Nursery
from thane.isolation.ready import Ready, Wanted
from thane.isolation.request import Limits, Refused, Request

_ANSWER_SECONDS = 20.0
_MOST_SAID = 4096


@dataclass
class Process:
    """A context's interpreter, or a command, while it lives and a moment after."""

    number: int
    began: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    when_ended: Callable[[], None] | None = None  # for whoever runs something in it
    pidfd: int = -1
    pid: int = -1  # the host's
    times: int = -1  # its /proc/PID/stat
    status: int = 0
    cpu_us: int = 0
    peak: int = 0
    code: Path | None = None  # a command's, in a folder of its own: two may run at once

    def signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        if self.pidfd < 0 or self.ended.is_set():
            return
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return  # it has ended; the agent will say so

    def kill_group(self) -> None:
        """End it with its process group. Nothing happens if it has ended."""
        if self.pid <= 0 or self.ended.is_set():
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # it has ended; the agent will say so

    def used_cpu_us(self) -> int:
        """CPU time of it and of what it has reaped, so far; by the kernel's clock ticks."""
        if self.ended.is_set() or self.times < 0:
            return self.cpu_us
        try:
            return accounting.cpu_us_of(os.pread(self.times, 1024, 0).decode("latin-1"))
        except ProcessLookupError:
            return self.cpu_us

    def close(self) -> None:
        for descriptor in (self.pidfd, self.times):
            if descriptor >= 0:
                os.close(descriptor)
        self.pidfd = self.times = -1


@dataclass
class Context:
    name: str
    process: Process
    channel: socket.socket
    cells: int = 0  # executions so far

    def close(self) -> None:
        # An execution that runs in it may still listen: the number of a closed descriptor is used again.
        asyncio.get_running_loop().remove_reader(self.channel.fileno())
        self.channel.close()
        self.process.signal(signal.SIGKILL)


class Sandbox:
    """Made by `open`. `lost` is set when the jail is gone, whatever the reason; `cause` says which."""

    def __init__(self, host: Host, nursery: Nursery, jail: Ready, request: Request) -> None:
        self.id = os.urandom(12).hex()
        self.jail = jail
        self.limits = request.limits
        self.contexts: dict[str, Context] = {}
        self.lost = asyncio.Event()
        self.cause: str | None = None
        self._host = host
        self._nursery = nursery
        self._processes: dict[int, Process] = {}
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._agent = socket.socket(fileno=jail.launched.control)
        self._agent.setblocking(False)
        jail.launched.control = -1
        self.monitor = Monitor(
            jail.place,
            request.limits,
            jail.group,
            root=jail.launched.pid,
            first=jail.launched.pid,
            send=lambda *_: None,
            stop=self.exhausted,
        )
        self.monitor.calm = True
        self._running = 0
        self._used_at = time.monotonic()
        self._loop.add_reader(self._agent.fileno(), self._hear)
        self._watch = self._loop.call_soon(self._look)

    @classmethod
    async def open(cls, host: Host, nursery: Nursery, tier: str, request: Request) -> Sandbox:
        """A sandbox with the request's limits. Raises Refused."""
        limits = request.limits
        jail = await nursery.make(Wanted(tier, agent=True, template=request.template))
        host.stage.resize_place(jail.place, limits.disk_bytes)
        if jail.group is not None:
            jail.group.limit(GroupLimits(limits.memory_bytes, limits.cpu_millicores, limits.processes))
        else:
            cpus = launch.affinity(host.processors, limits.cpu_millicores, jail.slot)
            os.sched_setaffinity(jail.launched.pid, cpus)
        return cls(host, nursery, jail, request)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While something runs in it, it is watched as closely as any jail."""
        self._running += 1
        if self.monitor.calm:
            self.monitor.calm = False
            if self.jail.group is None:  # with a group the kernel watches too
                self._look_in(self.monitor.period)
        try:
            yield
        finally:
            self._running -= 1
            self._used_at = time.monotonic()
            self.monitor.calm = self._running == 0

    @property
    def idle_seconds(self) -> float:
        """Since something ran in it; 0 while something does."""
        return 0.0 if self._running else time.monotonic() - self._used_at

    def touch(self) -> None:
        """It is in use, though nothing runs in it."""
        self._used_at = time.monotonic()

    @property
    def owner(self) -> int | None:
        return self._host.uid(self.jail.slot)

    def exhausted(self, cause: str) -> None:
        """It has used up a limit that counts for all of it: end it."""
        self.cause = self.cause or cause
        self.kill()

    def _look_in(self, seconds: float) -> None:
        self._watch.cancel()
        self._watch = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """A sandbox that nobody watches any more must not go on."""
        if self.lost.is_set():
            return
        try:
            self._look_in(self.monitor.tick())
        except Exception as error:
            sys.stderr.write(f"the watch over a sandbox failed: {error!r}\n")
            self.kill()

    def kill(self) -> None:
        """End the jail with all that is in it; `lost` follows."""
        if not self.lost.is_set():
            signal.pidfd_send_signal(self.jail.launched.pidfd, signal.SIGKILL)

    # -- the agent -------------------------------------------------------------------------

    def _hear(self) -> None:
        try:
            said, descriptors, _, _ = socket.recv_fds(self._agent, _MOST_SAID, 1)
        except ConnectionResetError:
            said, descriptors = b"", []
        if not said:
            self._gone()
            return
        kind, *rest = said.decode("ascii").split()
        number, *figures = (int(word) for word in rest)
        process = self._processes[number]
        if kind == "began":
            (process.pidfd,) = descriptors
            process.pid = _pid_of(process.pidfd)
            with contextlib.suppress(FileNotFoundError):  # it has ended already
                process.times = os.open(f"/proc/{process.pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            process.began.set()
        else:
            process.status, process.cpu_us, process.peak = figures
            self._ended(process)

    def _ended(self, process: Process) -> None:
        del self._processes[process.number]
        if process.code is not None:
            process.code.unlink()
            process.code.parent.rmdir()
        process.ended.set()
        process.began.set()
        if process.when_ended is not None:
            process.when_ended()

    def _gone(self) -> None:
        self._loop.remove_reader(self._agent.fileno())
        self.lost.set()
        for process in list(self._processes.values()):
            process.status = signal.SIGKILL
            self._ended(process)

    async def start(self, request: Request, kind: str, descriptors: list[int]) -> Process:
        """A new process in the jail, which takes over `descriptors`. Raises Refused if the jail is gone."""
        self._count += 1
        process = self._processes[self._count] = Process(self._count)
        tier = self.jail.tier
        order: dict[str, Any] = launch.plan(self._host, request, tier, self.jail.place, self.jail.slot)
        order |= {"number": process.number, "kind": kind, "processors": []}
        if kind == "command":
            process.code = Path(self.jail.place.code, str(process.number), launch.source_name(request))
            process.code.parent.mkdir()
            process.code.write_bytes(request.code)
            order["source"] = f"{root.CODE}/{process.number}/{process.code.name}"
        order["packages"] = root.PACKAGES if request.template is not None else ""
        if kind == "context":
            # Its time is limited per execution, not for its life.
            order["rlimits"] = [pair for pair in order["rlimits"] if pair[0] != launch.CPU_LIMIT]
        try:
            socket.send_fds(self._agent, [marshal.dumps(order)], descriptors)
            await asyncio.wait_for(process.began.wait(), _ANSWER_SECONDS)
        except (OSError, TimeoutError) as error:
            self.kill()
            raise Refused("jail_failed", f"the sandbox's jail does not answer: {error}") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return process

    # -- contexts --------------------------------------------------------------------------

    async def context(self, request: Request) -> Context:
        """The request's context, with a new interpreter if it has none that lives."""
        name = request.context or ""
        known = self.contexts.get(name)
        if known is not None and not known.process.ended.is_set():
            return known
        if request.continues:
            message = f"the interpreter of the context {name} has ended, and its variables are gone"
            raise Refused("context_lost", message)
        self.drop_context(name)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = await self.start(request, "context", [theirs.detach()])
        ours.setblocking(False)
        made = self.contexts[name] = Context(name, process, ours)
        return made

    def has_context(self, name: str) -> bool:
        """Whether a context of that name has an interpreter that lives."""
        known = self.contexts.get(name)
        return known is not None and not self.lost.is_set() and not known.process.ended.is_set()

    def drop_context(self, name: str) -> bool:
        """End its interpreter and forget it; False if there is none of that name."""
        context = self.contexts.pop(name, None)
        if context is None:
            return False
        context.close()
        context.process.close()
        return True

    def raise_memory(self, limits: Limits) -> None:
        """Let it have more memory from now on."""
        self.limits = limits
        self.monitor.raise_memory(limits)

    async def close(self) -> None:
        """End everything and give the folders back."""
        self.cause = self.cause or "closed"
        self._watch.cancel()
        self.kill()
        await self.lost.wait()
        for name in list(self.contexts):
            self.drop_context(name)
        self._agent.close()
        complaint = self.jail.complaint()
        if complaint:
            sys.stderr.write(f"a sandbox's jail said: {complaint}\n")
        self.jail.plan.close()
        self.jail.launched.end()
        await self._nursery.give_back(self.jail, keep_place=False)


def _pid_of(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    raise AssertionError("a pidfd's fdinfo has a line `Pid:`")
