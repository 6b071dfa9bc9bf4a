"""All stateful sandboxes of the program: whose they are, and how long they wait for their owner.

A sandbox belongs to a server's name, not to a connection. When the last connection of
that name is lost, its sandboxes wait for the name to come back, then end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from thane.isolation.host import Host
from thane.isolation.nursery import Nursery
from thane.isolation.request import Refused, Request
from thane.isolation.sandbox import Sandbox
from thane.isolation.stage import Place

Key = tuple[str, str]  # server's name, sandbox id
_NO_SANDBOX_HINT = "It begins with the first execution that names a context, and ends with its server."
_UNKNOWN = (
    " (it was idle for too long, its server was away for more than a minute, or the isolation program ended)"
)
_CAUSES = {
    "memory": " because it used more memory than it may",
    "disk": " because it used more disk than it may",
    "entries": " because it made more files than it may",
    "processes": " because it ran more processes than it may",
}


@dataclass
class Entry:
    """A sandbox, or the place where it is being made."""

    making: asyncio.Lock
    sandbox: Sandbox | None = None


class Sandboxes:
    def __init__(self, host: Host, nursery: Nursery, claim_seconds: float) -> None:
        self._host = host
        self._nursery = nursery
        self._claim_seconds = claim_seconds
        self._entries: dict[Key, Entry] = {}
        self._connections: Counter[str] = Counter()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[Place | None]] = set()

    # -- owners ----------------------------------------------------------------------------

    def arrive(self, server: str) -> None:
        """A connection of that name: it claims what waits for it."""
        self._connections[server] += 1
        timer = self._timers.pop(server, None)
        if timer is not None:
            timer.cancel()

    def leave(self, server: str) -> None:
        self._connections[server] -= 1
        if self._connections[server]:
            return
        del self._connections[server]
        if any(owner == server for owner, _ in self._entries):
            loop = asyncio.get_running_loop()
            self._timers[server] = loop.call_later(self._claim_seconds, self._abandon, server)

    @property
    def patience(self) -> float:
        """Seconds that the program must wait for owners to come back."""
        return self._claim_seconds if self._entries else 0.0

    def _abandon(self, server: str) -> None:
        self._timers.pop(server, None)
        for key in [key for key in self._entries if key[0] == server]:
            task = asyncio.create_task(self.close(*key))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    # -- sandboxes -------------------------------------------------------------------------

    async def get(self, server: str, tier: str, request: Request) -> Sandbox:
        """The request's sandbox, made with its limits if there is none that lives. Raises Refused."""
        key = (server, request.sandbox_id)
        entry = self._entries.setdefault(key, Entry(asyncio.Lock()))
        async with entry.making:
            cause = None
            if entry.sandbox is not None and entry.sandbox.lost.is_set():
                cause = entry.sandbox.cause
                await entry.sandbox.close()
                entry.sandbox = None
            if request.jail and (entry.sandbox is None or entry.sandbox.id != request.jail):
                if entry.sandbox is None:
                    self._entries.pop(key, None)
                raise _lost(request.sandbox_id, cause)
            if entry.sandbox is None:
                try:
                    entry.sandbox = await Sandbox.open(self._host, self._nursery, tier, request)
                except BaseException:
                    self._entries.pop(key, None)
                    raise
            entry.sandbox.touch()
            return entry.sandbox

    def find_in(self, server: str, sandbox_id: str, jail: str) -> Sandbox:
        """The sandbox as it lives in one jail. Raises Refused if that is not there any more."""
        entry = self._entries.get((server, sandbox_id))
        found = None if entry is None else entry.sandbox
        if found is None or found.lost.is_set() or (jail and found.id != jail):
            raise _lost(sandbox_id, None if found is None else found.cause)
        found.touch()
        return found

    def find(self, server: str, sandbox_id: str) -> Sandbox:
        entry = self._entries.get((server, sandbox_id))
        if entry is None or entry.sandbox is None or entry.sandbox.lost.is_set():
            raise Refused("not_found", f"there is no stateful sandbox {sandbox_id}", _NO_SANDBOX_HINT)
        return entry.sandbox

    def idle(self, server: str) -> dict[str, float]:
        """For how many seconds nothing has run in each of a server's sandboxes."""
        found = {key[1]: entry.sandbox for key, entry in self._entries.items() if key[0] == server}
        return {name: sandbox.idle_seconds for name, sandbox in found.items() if sandbox is not None}

    def contexts(self, server: str, sandbox_id: str) -> list[dict[str, Any]]:
        found = self.find(server, sandbox_id).contexts.values()
        return [
            {"name": context.name, "alive": not context.process.ended.is_set(), "executions": context.cells}
            for context in found
        ]

    def end_context(self, server: str, sandbox_id: str, name: str) -> None:
        if not self.find(server, sandbox_id).drop_context(name):
            raise Refused("not_found", f"the sandbox {sandbox_id} has no context {name}")

    async def close(self, server: str, sandbox_id: str) -> Place | None:
        """End a sandbox; answers where its files were. One that is not there is nobody's business."""
        entry = self._entries.pop((server, sandbox_id), None)
        if entry is None:
            return None
        async with entry.making:
            sandbox, entry.sandbox = entry.sandbox, None
            if sandbox is None:
                return None
            await sandbox.close()
            return sandbox.jail.place

    async def close_all(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for key in list(self._entries):
            await self.close(*key)
        if self._ending:
            await asyncio.wait(self._ending)


def _lost(sandbox_id: str, cause: str | None) -> Refused:
    why = _CAUSES.get(cause or "", _UNKNOWN)
    message = f"the jail of {sandbox_id} has ended{why}, and with it its files and its contexts' variables"
    return Refused("sandbox_lost", message)
