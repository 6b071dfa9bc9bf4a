"""All jobs of the program: who waits for a slot, who runs, and what became of whom.

A fair queue (first come, first served) before a fixed number of slots; verdicts are
remembered by job id for a while, and folders until they are released.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections import deque
from typing import Any

from thane.isolation import tiers
from thane.isolation.execution import Execution, Finished
from thane.isolation.host import Host
from thane.isolation.monitor import Send
from thane.isolation.nursery import Nursery
from thane.isolation.probe import Probe
from thane.isolation.request import Refused, Request

REMEMBERED_SECONDS = 600.0
_UNAVAILABLE_HINT = "Run `thane doctor` to see what each tier lacks."


class Slots:
    """Numbered places, given in the order in which they were asked for."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count))[::-1]
        self._waiting: deque[asyncio.Future[int]] = deque()

    async def take(self) -> int:
        if self._free and not self._waiting:
            return self._free.pop()
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(turn.result())
            else:
                self._waiting.remove(turn)
            raise

    def give(self, slot: int) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(slot)
                return
        self._free.append(slot)


class Jobs:
    def __init__(self, host: Host, nursery: Nursery, probe: Probe, slots: int) -> None:
        self._host = host
        self._nursery = nursery
        self._probe = probe
        self._slots = Slots(slots)
        self._running: dict[str, Execution] = {}
        self._queued: dict[str, asyncio.Task[int]] = {}
        self._starting: dict[
            str, str | None
        ] = {}  # has a slot, has no tier yet; why it was stopped meanwhile
        self._finished: dict[str, tuple[float, Finished]] = {}
        self._count = 0
        self._idle = asyncio.Event()  # set when the last running job has ended

    async def run(self, request: Request, send: Send) -> dict[str, Any]:
        """The job's verdict. Raises Refused if it was not run."""
        if request.id in {*self._queued, *self._starting, *self._running}:
            raise Refused(
                "invalid", f"the job {request.id} is running already", "Give each job an id of its own."
            )
        self._forget_old()
        # Registered before anything is awaited, so that a cancellation finds it whenever it comes.
        waiting = asyncio.ensure_future(self._slots.take())
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
            return await self._run_in(slot, request, send)
        finally:
            self._slots.give(slot)

    async def _run_in(self, slot: int, request: Request, send: Send) -> dict[str, Any]:
        self._starting[request.id] = None
        try:
            tier = await self._tier_for(request)
            if self._starting[request.id] is not None:
                raise Refused("cancelled", "cancelled before it started")
        finally:
            del self._starting[request.id]
        self._count += 1
        execution = self._running[request.id] = Execution(
            self._host, self._nursery, request, tier, slot, str(self._count), send
        )
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

    async def _tier_for(self, request: Request) -> str:
        best = await self._probe.best()
        if best is None:
            raise Refused(
                "isolation_unavailable", "no tier of isolation works on this machine", _UNAVAILABLE_HINT
            )
        if tiers.rank(best) < tiers.rank(request.minimum_tier):
            message = f"the job asks for tier {request.minimum_tier} and this machine has {best}"
            raise Refused("isolation_unavailable", message, _UNAVAILABLE_HINT)
        return best

    def stop(self, job_id: str, cause: str) -> None:
        """End a job wherever it is; unknown ids are nobody's business any more."""
        if job_id in self._queued:
            self._queued[job_id].cancel()
        elif job_id in self._starting:
            self._starting[job_id] = cause
        elif job_id in self._running:
            self._running[job_id].stop(cause)

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
            self._host.stage.close_place(finished.place)
            finished.place = None

    def _forget(self, job_id: str) -> None:
        self.release(job_id)
        self._finished.pop(job_id, None)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - REMEMBERED_SECONDS
        for job_id in [key for key, (when, _) in self._finished.items() if when < oldest]:
            self._forget(job_id)

    async def stop_all(self) -> None:
        """End everything, wait until it has ended, and give back all folders."""
        for job_id in [*self._queued, *self._starting, *self._running]:
            self.stop(job_id, "lost")
        if self._running:
            self._idle.clear()
            await self._idle.wait()
        for job_id in list(self._finished):
            self._forget(job_id)
