"""The runner: starts every job of a process, keeps it running, and stops it gracefully.

A job that raises is logged and begun again after a pause that grows to half a minute; it
never takes another one, or the server, with it. The runner holds no rule of any job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from thane.kernel.feed import Feed
from thane.kernel.jobs.cursors import Deliverer
from thane.kernel.jobs.declare import Periodic, Projection, Schedule, Subscription, Tools
from thane.kernel.jobs.leases import Lease, LeaseLost, Leases
from thane.kernel.jobs.schedules import Scheduler

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
GRACE_SECONDS = 5.0


class JobRunner:
    """All jobs of one process. `start` once, `stop` once."""

    def __init__(
        self,
        tools: Tools,
        feed: Feed,
        leases: Leases,
        *,
        subscriptions: Sequence[Subscription] = (),
        projections: Sequence[Projection] = (),
        periodic: Sequence[Periodic] = (),
        schedules: Sequence[Schedule] = (),
    ) -> None:
        self._tools = tools
        self._feed = feed
        self._leases = leases
        self._periodic = tuple(periodic)
        self._schedules = tuple(schedules)
        consumers: list[Projection | Subscription] = [*projections, *subscriptions]
        self.deliverers = {c.consumer: Deliverer(c, feed, tools) for c in consumers}
        if len(self.deliverers) != len(consumers):
            raise TypeError("two consumers have the same name")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Start everything; returns at once."""
        for name, deliverer in self.deliverers.items():
            self._keep(f"consumer/{name}", self._leased(f"consumer/{name}", _without_lease(deliverer.run)))
        for job in self._periodic:
            self._keep(f"periodic/{job.name}", self._periodically(job))
        if self._schedules:
            self._keep("schedules", Scheduler(self._schedules, self._leases, self._tools).run)

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Let what runs end within the grace, then end it; leases are given back."""
        self._stopping.set()
        periodic = [t for name, t in self._tasks.items() if name.startswith("periodic/")]
        if periodic:
            await asyncio.wait(periodic, timeout=grace_seconds)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    async def catch_up(self, *consumers: str) -> None:
        """Let these consumers (all, if none is named) take everything that stands in the ledger now."""
        for name in consumers or tuple(self.deliverers):
            await self.deliverers[name].catch_up()

    async def rebuild(self, consumer: str, tenant_id: str) -> None:
        """Drop and refill a projection's rows of one tenant; see `Deliverer.rebuild`."""
        await self.deliverers[consumer].rebuild(tenant_id)

    # -- inner ------------------------------------------------------------------------------

    def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self._tasks[name] = asyncio.create_task(self._supervised(name, run), name=name)

    async def _supervised(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            try:
                await run()
            except LeaseLost as lost:
                log.warning("a job has lost its lease", extra={"job": name, "cause": lost.message})
            except Exception:
                log.exception("a job failed and begins again", extra={"job": name})
            else:
                pause = 0.0
            if loop.time() - started > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await self._rest(pause)
            pause = min(max(pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

    async def _rest(self, seconds: float) -> None:
        """Sleep, but not into the stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _leased(self, name: str, work: Callable[[Lease], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            await self._leases.run_under(name, work)
            # Another process has it: look again when it may have died.
            await self._rest(self._leases.ttl_seconds / 3)

        return run

    def _periodically(self, job: Periodic) -> Callable[[], Awaitable[None]]:
        async def rounds(lease: Lease | None = None) -> None:
            del lease
            while not self._stopping.is_set():
                await job.run(self._tools)
                await self._rest(job.seconds)

        return rounds if job.everywhere else self._leased(f"periodic/{job.name}", rounds)


def _without_lease(run: Callable[[], Awaitable[None]]) -> Callable[[Lease], Awaitable[None]]:
    async def work(lease: Lease) -> None:
        del lease
        await run()

    return work
