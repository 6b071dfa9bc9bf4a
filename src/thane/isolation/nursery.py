"""Jails that are ready before their job: the zygote that makes them, and a few in stock.

It starts the zygote, starts another when it has died or has made its number of jails,
and keeps `stock` finished jails of the tier that jobs run in. A jail is used once. It
knows nothing of jobs: `Ready` is filled, limited and handed over by `execution`.
"""

from __future__ import annotations

import asyncio
import errno
import marshal
import os
import select
import socket
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from thane.isolation import birth, cgroups, libc, root, seccomp, spawn, tiers, zygote
from thane.isolation.cgroups import Group
from thane.isolation.host import Host
from thane.isolation.launch import Launched, sealed_memory
from thane.isolation.request import Refused
from thane.isolation.stage import Place

_MAKE_SECONDS = 20.0
_ATTEMPTS = 3
_DISK_UNTIL_HANDED_OVER = 1 << 20
_SOURCE = str(Path(__file__).parents[2])


@dataclass
class Ready:
    """A jail without a job. Whoever takes it owns all of it and gives it back by `Nursery.close`."""

    tier: str
    slot: int
    place: Place
    group: Group | None
    launched: Launched
    plan: socket.socket

    def lives(self) -> bool:
        """Whether its first process has not ended."""
        return not select.select([self.launched.pidfd], [], [], 0)[0]

    def complaint(self) -> str:
        """What those who made it have written where only complaints go."""
        return _complaint(self.launched.diagnostics)

    def hand_over(self, plan: dict[str, object], stdin: int) -> None:
        """Let the program's process go. Takes `stdin`."""
        spec = sealed_memory(marshal.dumps(plan))
        try:
            socket.send_fds(self.plan, [b"plan"], [stdin, spec])
        finally:
            os.close(stdin)
            os.close(spec)
            self.plan.close()


class _Zygote:
    """One running zygote, seen from the isolation program."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.made = 0

    def end(self) -> None:
        self.channel.close()
        # It ends at once, as it only waits for the channel; its jails are not its children.
        os.waitpid(self.pid, 0)


def root_plan(host: Host) -> root.Plan:
    seen = host.visible
    python = host.interpreter
    folders = (*seen.system, *(path for path, link in seen.links if link is None))
    links = tuple((path, link) for path, link in seen.links if link is not None)
    outside = not python.inside_system
    return root.Plan(
        at=f"{host.stage.root}/root",
        folders=(*folders, *python.libraries),
        files=(python.executable,) if outside else (),
        links=(*links, *root.python_links(python.executable)),
        hidden=seen.hidden,
        etc=f"{host.stage.root}/etc",
        empty=host.stage.empty,
    )


class Nursery:
    def __init__(self, host: Host, stock: int, jails_per_zygote: int) -> None:
        self._host = host
        self._stock = stock
        self._jails_per_zygote = jails_per_zygote
        self._tier: str | None = None  # the tier that is kept in stock
        self._ready: deque[Ready] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._zygote: _Zygote | None = None
        self._starting = asyncio.Lock()
        self._slots = list(range(host.uids - 1))[::-1]
        self._count = 0
        self._closed = False
        self._resting = False
        self._dropping: asyncio.Task[None] | None = None

    # -- jails -----------------------------------------------------------------------------

    def keep_in_stock(self, tier: str) -> None:
        """From now on have a few jails of this tier ready."""
        self._tier = tier
        self._refill()

    def rest(self) -> None:
        """Nobody is connected: nothing is kept ready, so that no jail is left of a server that died."""
        self._resting = True
        self._dropping = asyncio.create_task(self._drop_stock())

    def wake(self) -> None:
        """Somebody is: fill the stock again."""
        self._resting = False
        self._refill()

    async def _drop_stock(self) -> None:
        while self._ready:
            await self.close(self._ready.popleft())

    async def take(self, tier: str) -> Ready:
        """A jail for one job: from stock, or made now. Raises Refused when none can be made."""
        while tier == self._tier and self._ready:
            jail = self._ready.popleft()
            self._refill()
            if jail.lives():
                return jail
            # Jails are the first to go when the host runs out of memory.
            await self.close(jail)
        return await self._make(tier)

    def _refill(self) -> None:
        if self._closed or self._resting or self._tier is None:
            return
        for _ in range(self._stock - len(self._ready) - len(self._making)):
            task = asyncio.create_task(self._add_to_stock(self._tier))
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    async def _add_to_stock(self, tier: str) -> None:
        try:
            jail = await self._make(tier)
        except Refused as refused:
            # The next job makes its own and is told, if it is still so.
            sys.stderr.write(f"no jail could be made ahead: {refused.message}\n")
            return
        if self._closed or self._resting:
            await self.close(jail)
        else:
            self._ready.append(jail)

    async def make_for_sandbox(self, tier: str) -> Ready:
        """A jail with an agent. Raises Refused when none can be made."""
        return await self._make(tier, agent=True)

    async def _make(self, tier: str, *, agent: bool = False) -> Ready:
        reason = ""
        for _ in range(_ATTEMPTS):
            running = await self._running()
            jail, reason = await self._order(running, tier, agent=agent)
            if jail is not None:
                return jail
            if reason:
                break
            reason = "the zygote died"
            if running is self._zygote:
                self._dismiss()
        raise Refused("jail_failed", f"the jail of tier {tier} could not be set up: {reason}")

    async def _order(self, running: _Zygote, tier: str, *, agent: bool) -> tuple[Ready | None, str]:
        """A jail from this zygote; or None and what it complains of: nothing if the zygote is gone."""
        slot = self.take_slot()
        self._count += 1
        name = f"jail-{self._count}"
        place = self._host.stage.open_place(name, _DISK_UNTIL_HANDED_OVER, self._host.uid(slot))
        groups = self._host.groups if tier == tiers.T2 else None
        group = groups.create(name) if groups is not None else None
        launched, plan = self._send_order(running, tier, slot, place, group, agent=agent)
        jail = Ready(tier, slot, place, group, launched, plan)
        try:
            words = await asyncio.wait_for(_until_ready(launched), _MAKE_SECONDS)
        except TimeoutError:
            words = ""
        except asyncio.CancelledError:
            await self.close(jail)
            raise
        if words.endswith("ready\n"):
            running.made += 1
            return jail, ""
        complaint = _complaint(launched.diagnostics)
        await self.close(jail)
        return None, complaint

    def _send_order(
        self, running: _Zygote, tier: str, slot: int, place: Place, group: Group | None, *, agent: bool
    ) -> tuple[Launched, socket.socket]:
        pipes = {name: os.pipe() for name in ("status", "stdout", "stderr", "diagnostics")}
        # An agent is spoken to; a program's first process only has to see that its end closes.
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control_write, control_read = (end.detach() for end in ends)
        plan, their_plan = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs = {name: ends[1] for name, ends in pipes.items()}
        theirs |= {"control": control_read, "plan": their_plan.detach()}
        trees = [libc.clone_tree(path) for path in (place.workspace, place.tmp, place.shm, place.code)]
        entries = [os.open(path, os.O_WRONLY) for path in (group.entries() if group is not None else [])]
        uid = 0 if self._host.uid_base is None else slot + 1
        order = marshal.dumps({"uid": uid, "filter": seccomp.build(tiers.rules(tier)), "agent": agent})
        passed = [*(theirs[name] for name in birth.STREAMS), *trees, *entries]
        try:
            socket.send_fds(running.channel, [order], passed)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has died: its pipes, closed below, say so to whoever waits
        finally:
            for descriptor in passed:
                os.close(descriptor)
        ours = {name: ends[0] for name, ends in pipes.items()}
        os.set_blocking(ours["status"], False)
        return Launched(-1, -1, control=control_write, **ours), plan

    async def close(self, jail: Ready) -> None:
        """End a jail that was not used, and remove what was made for it."""
        jail.plan.close()
        jail.launched.end()
        await self.give_back(jail, keep_place=False)

    async def give_back(self, jail: Ready, *, keep_place: bool) -> None:
        """Remove what is left of a jail that has ended."""
        if jail.group is not None:
            await cgroups.remove_soon(jail.group)
        if not keep_place:
            self._host.stage.close_place(jail.place)
        self._slots.append(jail.slot)

    def take_slot(self) -> int:
        """A uid's number for a jail that the zygote does not make. Raises Refused when all are taken."""
        if not self._slots:
            most = self._host.uids - 1
            raise Refused("isolation_unavailable", f"{most} jails live already", "Close stateful sandboxes.")
        return self._slots.pop()

    def give_slot(self, slot: int) -> None:
        self._slots.append(slot)

    # -- the zygote ------------------------------------------------------------------------

    async def _running(self) -> _Zygote:
        async with self._starting:
            if self._zygote is not None and self._zygote.made >= self._jails_per_zygote:
                self._dismiss()
            if self._zygote is None:
                self._zygote = await self._start()
            return self._zygote

    def _dismiss(self) -> None:
        if self._zygote is not None:
            self._zygote.end()
            self._zygote = None

    async def _start(self) -> _Zygote:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mapped = self._host.uid_base is not None
        said = sealed_memory(zygote.plan_of(root_plan(self._host), _SOURCE, mapped=mapped))
        executable = self._host.interpreter.executable
        command = [
            executable,
            "-I",
            "-S",
            "-u",
            "-B",
            "-c",
            zygote.start_text(),
            str(said),
            str(theirs.fileno()),
        ]

        def become() -> None:
            spawn.close_all_but((said, theirs.fileno()))
            os.setsid()
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            for descriptor in (said, theirs.fileno()):
                os.set_inheritable(descriptor, True)
            os.execve(executable, command, {"LANG": "C.UTF-8"})

        started = _Zygote(spawn.fork(become), ours)
        theirs.close()
        os.close(said)
        ours.setblocking(False)
        try:
            await asyncio.wait_for(self._greet(started), _MAKE_SECONDS)
        except (TimeoutError, ConnectionError, OSError) as error:
            os.kill(started.pid, 9)
            started.end()
            raise Refused("jail_failed", f"the zygote could not be started: {error}; see the log") from error
        ours.setblocking(True)
        return started

    async def _greet(self, started: _Zygote) -> None:
        loop = asyncio.get_running_loop()
        said = await loop.sock_recv(started.channel, 16)
        if said == b"map":
            self._map_users(started.pid)
            await loop.sock_sendall(started.channel, b"mapped")
            said = await loop.sock_recv(started.channel, 16)
        if said != b"ready":
            raise ConnectionError(errno.EPIPE, "it ended while it was starting")

    def _map_users(self, pid: int) -> None:
        """As root: the zygote's own users are the program's piece of the host's unused ones."""
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(f"0 {self._host.uid_base} {self._host.uids}")

    async def end(self) -> None:
        """End the stock and the zygote. Jails that were taken are their owners' affair."""
        self._closed = True
        if self._making:
            await asyncio.wait(self._making)
        await self._drop_stock()
        self._dismiss()


async def _until_ready(launched: Launched) -> str:
    """What the jail says until it is ready or gone. Notes the first process's pid in passing."""
    loop = asyncio.get_running_loop()
    words = bytearray()
    while not words.endswith(b"ready\n"):
        readable = asyncio.Event()
        loop.add_reader(launched.status, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(launched.status)
        data = os.read(launched.status, 4096)
        if not data:
            break
        words += data
        if launched.pid < 0 and words.startswith(b"pid ") and b"\n" in words:
            launched.pid = int(words.split()[1])
            launched.pidfd = os.pidfd_open(launched.pid)
    return words.decode("ascii", "replace")


def _complaint(diagnostics: int) -> str:
    os.set_blocking(diagnostics, False)
    try:
        return os.read(diagnostics, 1 << 16).decode("utf-8", "replace").strip()
    except BlockingIOError:
        return ""
