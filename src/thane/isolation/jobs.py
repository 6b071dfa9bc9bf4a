"""All jobs of the program: who waits for a slot, who runs, and what became of whom.

A fair queue before a fixed number of slots, and before that one per stateful context;
verdicts are remembered by job id for a while, and folders until they are released.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any

from thane.isolation import tiers
from thane.isolation.cell import Cell
from thane.isolation.execution import Execution, Finished
from thane.isolation.host import Host
from thane.isolation.monitor import Send
from thane.isolation.nursery import Nursery
from thane.isolation.probe import Probe
from thane.isolation.queueing import Slots
from thane.isolation.request import Refused, Request
from thane.isolation.sandbox import Sandbox
from thane.isolation.sandboxes import Sandboxes

REMEMBERED_SECONDS = 600.0
_UNAVAILABLE_HINT = "Run `thane doctor` to see what each tier lacks."


@dataclass
class _Turn:
    lock: asyncio.Lock
    users: int = 0


class Jobs:
    def __init__(self, host: Host, nursery: Nursery, probe: Probe, sandboxes: Sandboxes, slots: int) -> None:
        self._host = host
        self._nursery = nursery
        self._probe = probe
        self._sandboxes = sandboxes
        self._slots = Slots(slots)
        self._turns: dict[tuple[str, str, str], _Turn] = {}  # of contexts: one execution at a time
        self._running: dict[str, Execution | Cell] = {}
        self._queued: dict[str, asyncio.Task[int]] = {}
        self._starting: dict[
            str, str | None
        ] = {}  # has a slot, has no tier yet; why it was stopped meanwhile
        self._finished: dict[str, tuple[float, Finished]] = {}
        self._count = 0
        self._idle = asyncio.Event()  # set when the last running job has ended

    async def run(self, request: Request, send: Send, server: str) -> dict[str, Any]:
        """The job's verdict. Raises Refused if it was not run. `server` is the name of who asks."""
        if request.id in {*self._queued, *self._starting, *self._running}:
            raise Refused(
                "invalid", f"the job {request.id} is running already", "Give each job an id of its own."
            )
        self._forget_old()
        # Registered before anything is awaited, so that a cancellation finds it whenever it comes.
        waiting = asyncio.ensure_future(self._take_turn(request, server))
        self._queued[request.id] = waiting
        try:
            slot = await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():
                raise
            raise Refused("cancelled", "cancelled before it started") from None
        finally:
            del self._queued[request.id]
        try:
            return await self._run_in(slot, request, send, server)
        finally:
            self._slots.give(slot, request.share)
            self._end_turn(request, server)

    async def _take_turn(self, request: Request, server: str) -> int:
        """A slot; for a context's execution once the context is free, so that no slot waits for one."""
        if request.context is None:
            return await self._slots.take(request.share)
        key = (server, request.sandbox_id, request.context)
        turn = self._turns.setdefault(key, _Turn(asyncio.Lock()))
        turn.users += 1
        try:
            await turn.lock.acquire()
            try:
                return await self._slots.take(request.share)
            except BaseException:
                turn.lock.release()
                raise
        except BaseException:
            self._leave_turn(key)
            raise

    def _end_turn(self, request: Request, server: str) -> None:
        if request.context is not None:
            key = (server, request.sandbox_id, request.context)
            self._turns[key].lock.release()
            self._leave_turn(key)

    def _leave_turn(self, key: tuple[str, str, str]) -> None:
        self._turns[key].users -= 1
        if not self._turns[key].users:
            del self._turns[key]

    async def _run_in(self, slot: int, request: Request, send: Send, server: str) -> dict[str, Any]:
        self._starting[request.id] = None
        try:
            tier = await self._tier_for(request)
            execution = await self._begin(slot, tier, request, send, server)
            if self._starting[request.id] is not None:
                raise Refused("cancelled", "cancelled before it started")
        finally:
            del self._starting[request.id]
        self._running[request.id] = execution
        try:
            finished = await execution.run()
        except OSError as error:
            traceback.print_exc(file=sys.stderr)
            message = f"the jail could not be made: {error}"
            raise Refused("jail_failed", message, "The isolation program's log has the details.") from error
        finally:
            del self._running[request.id]
            if not self._running:
                self._idle.set()
        self._forget(request.id)
        self._finished[request.id] = (time.monotonic(), finished)
        return finished.verdict

    async def _begin(
        self, slot: int, tier: str, request: Request, send: Send, server: str
    ) -> Execution | Cell:
        if request.context is None:
            self._count += 1
            return Execution(self._host, self._nursery, request, tier, slot, str(self._count), send)
        return Cell(self._host, await self.home(request, server), request, send)

    async def _tier_for(self, request: Request) -> str:
        """The strongest tier that works; T3, which is slow to start, only if the job demands it."""
        if request.minimum_tier == tiers.ON_DEMAND:
            await self._demand(tiers.ON_DEMAND)
            return tiers.ON_DEMAND
        best = await self._probe.best()
        if best is None:
            raise Refused(
                "isolation_unavailable", "no tier of isolation works on this machine", _UNAVAILABLE_HINT
            )
        if tiers.rank(best) < tiers.rank(request.minimum_tier):
            await self._demand(request.minimum_tier)
        return best

    async def _demand(self, tier: str) -> None:
        """Refuse, with what is missing and what brings it, unless the tier works."""
        missing, remedy = await self._probe.lacks(tier)
        if missing:
            message = f"the job asks for tier {tier}, which this machine does not have: {missing}"
            raise Refused("isolation_unavailable", message, f"{remedy}. {_UNAVAILABLE_HINT}")

    def stop(self, job_id: str, cause: str) -> None:
        """End a job wherever it is; unknown ids are nobody's business any more."""
        if job_id in self._queued:
            self._queued[job_id].cancel()
        elif job_id in self._starting:
            self._starting[job_id] = cause
        elif job_id in self._running:
            self._running[job_id].stop(cause)

    def raise_memory(self, job_id: str, memory_bytes: int) -> bool:
        """Let a running job have more memory; False if it does not run."""
        running = self._running.get(job_id)
        return running is not None and running.raise_memory(memory_bytes)

    async def home(self, request: Request, server: str) -> Sandbox:
        """The stateful sandbox that a request means, made if there is none. Raises Refused."""
        tier = await self._tier_for(request)
        if not tiers.has_namespaces(tier):
            message = f"tier {tier} has no stateful sandboxes: each of its executions is in a fresh jail"
            hint = "Leave the context out, or use a tier of T2 or T2-, which have contexts."
            raise Refused("isolation_unavailable", message, f"{hint} {_UNAVAILABLE_HINT}")
        return await self._sandboxes.get(server, tier, request)

    def recall(self, job_id: str) -> dict[str, Any] | None:
        self._forget_old()
        remembered = self._finished.get(job_id)
        return None if remembered is None else remembered[1].verdict

    def folders_of(self, job_id: str) -> Finished | None:
        """The finished job, if its folders are still there."""
        remembered = self._finished.get(job_id)
        return None if remembered is None or remembered[1].place is None else remembered[1]

    def release(self, job_id: str) -> None:
        """Give the job's folders back; its verdict stays."""
        finished = self.folders_of(job_id)
        if finished is not None and finished.place is not None:
            if not finished.shared:
                self._host.stage.close_place(finished.place)
            finished.place = None

    def _forget(self, job_id: str) -> None:
        self.release(job_id)
        self._finished.pop(job_id, None)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - REMEMBERED_SECONDS
        while self._finished:
            job_id, (when, _) = next(iter(self._finished.items()))  # they stand in the order of their ends
            if when >= oldest:
                break
            self._forget(job_id)

    async def close_sandbox(self, server: str, sandbox_id: str) -> None:
        """End a stateful sandbox; files of its executions that nobody has collected go with it."""
        closed = await self._sandboxes.close(server, sandbox_id)
        for _, finished in self._finished.values():
            if closed is not None and finished.place is closed:
                finished.place = None

    async def stop_all(self) -> None:
        """End everything, wait until it has ended, and give back all folders."""
        for job_id in [*self._queued, *self._starting, *self._running]:
            self.stop(job_id, "lost")
        if self._running:
            self._idle.clear()
            await self._idle.wait()
        for job_id in list(self._finished):
            self._forget(job_id)
        await self._sandboxes.close_all()
