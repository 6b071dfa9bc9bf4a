"""Schedules: things that happen at a time of day, once over all processes.

A schedule's row holds when it is due next. Firing takes a lease, runs, and only then moves
`next_due` by compare-and-set; so a firing that a crash cut off comes again, and no two
processes run one at the same time. Missed firings are not repeated one by one: the last
one is caught up, because it is the newest state that people wait for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from cronsim import CronSim, CronSimError

from thane.kernel.clock import from_us, to_us
from thane.kernel.context import SYSTEM_TENANT
from thane.kernel.jobs.declare import Schedule, Tools
from thane.kernel.jobs.entities import LetterStatus, ScheduleRow, derived_id
from thane.kernel.jobs.leases import Lease, LeaseLost, Leases
from thane.kernel.jobs.letters import Letters
from thane.kernel.records.unit import Unit

log = logging.getLogger(__name__)
TICK_SECONDS = 1.0


def next_due(cron: str, after: datetime) -> datetime:
    """The first time after `after` (UTC) that the expression names. ValueError if there is none."""
    try:
        return next(CronSim(cron, after))
    except (CronSimError, StopIteration) as fault:
        raise ValueError(f"{cron!r} is no cron expression that ever fires: {fault}") from fault


def last_due(cron: str, due: datetime, now: datetime) -> datetime:
    """The newest time from `due` to `now` that the expression names; `due` is one."""
    # Going back, the first time looked at is this second only if the start lies after its beginning.
    return max(due, next(CronSim(cron, now.replace(microsecond=1), reverse=True), due))


class Scheduler:
    """Fires the schedules of one process."""

    def __init__(self, schedules: Sequence[Schedule], leases: Leases, tools: Tools) -> None:
        self._schedules = tuple(schedules)
        self._leases = leases
        self._tools = tools
        self._letters = Letters(tools)
        self._firing: dict[str, asyncio.Task[bool]] = {}
        self._not_before: dict[str, datetime] = {}  # after a failure; another process may be earlier
        for schedule in self._schedules:
            next_due(schedule.cron, from_us(0))  # a bad expression is refused at start

    async def run(self) -> None:
        """Look every second, until cancelled."""
        try:
            while True:
                await self.start_due()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            await self._end()

    async def tick(self) -> int:
        """Fire what is due and wait for it; how many fired here."""
        await self.start_due()
        done = await asyncio.gather(*self._firing.values())
        return sum(done)

    async def start_due(self) -> None:
        """Start what is due and not under way. A long one does not hold up the others."""
        now = from_us(self._tools.clock.now_us())
        for schedule in self._schedules:
            if schedule.name in self._firing or now < self._not_before.get(schedule.name, now):
                continue
            row = await self._row(schedule)
            if row.next_due <= now:
                self._start(schedule)

    def _start(self, schedule: Schedule) -> None:
        def done(task: asyncio.Task[bool]) -> None:
            del self._firing[schedule.name]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("a schedule could not fire", exc_info=error, extra={"schedule": schedule.name})

        task = asyncio.ensure_future(self._under_lease(schedule))
        self._firing[schedule.name] = task
        task.add_done_callback(done)

    async def _under_lease(self, schedule: Schedule) -> bool:
        async def fire(lease: Lease) -> bool:
            return await self._fire(schedule, lease)

        try:
            return bool(await self._leases.run_under(f"schedule/{schedule.name}", fire))
        except LeaseLost as lost:
            log.warning("a firing was cut off", extra={"schedule": schedule.name, "cause": lost.message})
            return False

    async def _fire(self, schedule: Schedule, lease: Lease) -> bool:
        """With the lease held: False if another process has fired meanwhile, or it failed and comes again."""
        row = await self._row(schedule)
        now = from_us(self._tools.clock.now_us())
        if row.next_due > now:
            return False
        due = last_due(schedule.cron, row.next_due, now)
        try:
            await schedule.run(self._tools, due)
        except Exception as error:
            letter = await self._letters.failed(
                self._consumer(schedule), SYSTEM_TENANT, to_us(row.next_due), error, schedule.attempts
            )
            log.exception("a schedule failed", extra={"schedule": schedule.name, "attempts": letter.attempts})
            if letter.status is not LetterStatus.DEAD:
                self._not_before[schedule.name] = letter.next_try
                return False
            await self._move(schedule, row, lease, now, None)
            return False
        await self._move(schedule, row, lease, now, to_us(row.next_due))
        return True

    async def _move(
        self, schedule: Schedule, row: ScheduleRow, lease: Lease, now: datetime, settled: int | None
    ) -> None:
        """On to the next time; `settled` is the index of the letter that has gone well."""

        async def move(unit: Unit) -> None:
            await self._leases.guard(unit, lease)
            current = await unit.get(ScheduleRow, row.id)
            await unit.update(current, next_due=next_due(schedule.cron, now), last_run=now)
            if settled is not None:
                await self._letters.drop(unit, self._consumer(schedule), SYSTEM_TENANT, settled)

        await self._tools.housekeep(SYSTEM_TENANT, move)

    async def _row(self, schedule: Schedule) -> ScheduleRow:
        """The schedule's row: made at first sight (due next time, not now), anew if its cron was changed."""

        async def find(unit: Unit) -> ScheduleRow:
            row = await unit.find(ScheduleRow, derived_id("sch", schedule.name))
            due = next_due(schedule.cron, unit.now)
            if row is None:
                return unit.create(
                    ScheduleRow(
                        id=derived_id("sch", schedule.name),
                        name=schedule.name,
                        cron=schedule.cron,
                        next_due=due,
                    )
                )
            if row.cron != schedule.cron:
                return await unit.update(row, cron=schedule.cron, next_due=due)
            return row

        found: ScheduleRow = await self._tools.housekeep(SYSTEM_TENANT, find)
        return found

    def _consumer(self, schedule: Schedule) -> str:
        return f"schedule/{schedule.name}"

    async def _end(self) -> None:
        tasks = list(self._firing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
