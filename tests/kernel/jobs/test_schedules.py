"""Schedules and the runner: once over all processes, one missed firing caught up, nothing swallowed."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.jobs.test_cursors import SHOWN, Ear, shown
from tests.kernel.jobs.world import FakeClock, World, until, world
from thane.kernel.clock import to_us
from thane.kernel.jobs import JobRunner, Letters, Periodic, Schedule, ScheduleRow, Subscription, Tools
from thane.kernel.jobs.schedules import Scheduler, last_due, next_due

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def at(moment: datetime) -> FakeClock:
    return FakeClock(to_us(moment))


class Bell:
    """Remembers when it was rung for."""

    def __init__(self) -> None:
        self.rung: list[datetime] = []
        self.broken = False

    async def __call__(self, tools: Tools, due: Any) -> None:
        self.rung.append(due)
        if self.broken:
            raise RuntimeError("cracked")

    def scheduler(
        self, w: World, cron: str = "*/10 * * * *", server: str = "one", attempts: int = 3
    ) -> Scheduler:
        schedule = Schedule(name="bell", cron=cron, run=self, attempts=attempts)
        return Scheduler((schedule,), w.leases_of(server), w.tools)


async def next_time(w: World) -> datetime:
    (row,) = await w.records.across(ScheduleRow)
    return row.next_due


def test_cron_times() -> None:
    assert next_due("*/10 * * * *", NOON) == NOON + timedelta(minutes=10)
    assert next_due("0 3 * * *", NOON) == datetime(2026, 3, 2, 3, tzinfo=UTC)
    assert last_due("*/10 * * * *", NOON, NOON) == NOON
    assert last_due("*/10 * * * *", NOON, NOON + timedelta(minutes=35, microseconds=9)) == NOON + timedelta(
        minutes=30
    )
    with pytest.raises(ValueError, match="no cron expression"):
        next_due("every day", NOON)


async def test_a_schedule_fires_when_it_is_due_and_not_when_it_is_first_seen(tmp_path: Path) -> None:
    clock = at(NOON)
    async with world(tmp_path, clock=clock) as w:
        bell = Bell()
        scheduler = bell.scheduler(w)
        assert await scheduler.tick() == 0
        clock.move(599)
        assert await scheduler.tick() == 0
        clock.move(2)
        assert await scheduler.tick() == 1
        assert await scheduler.tick() == 0
        assert bell.rung == [NOON + timedelta(minutes=10)]
        assert await next_time(w) == NOON + timedelta(minutes=20)


async def test_of_many_missed_firings_the_last_is_caught_up(tmp_path: Path) -> None:
    clock = at(NOON)
    async with world(tmp_path, clock=clock) as w:
        bell = Bell()
        await bell.scheduler(w).tick()
        clock.move(3600 * 5 + 30)
        assert await bell.scheduler(w).tick() == 1
        assert await bell.scheduler(w).tick() == 0
        assert bell.rung == [NOON + timedelta(hours=5)]


async def test_it_fires_once_though_many_processes_look(tmp_path: Path) -> None:
    clock = at(NOON)
    async with world(tmp_path, clock=clock) as w:
        bell = Bell()
        many = [bell.scheduler(w, server=f"server{n}") for n in range(8)]
        for turn in range(1, 4):
            await asyncio.gather(*(s.tick() for s in many))
            clock.move(601)
            await asyncio.gather(*(s.tick() for s in many))
            assert len(bell.rung) == turn


async def test_a_firing_that_was_cut_off_comes_again_with_the_same_time(tmp_path: Path) -> None:
    clock = at(NOON)
    async with world(tmp_path, clock=clock) as w:
        bell, reached = Bell(), asyncio.Event()

        async def hang(tools: Tools, due: Any) -> None:
            await bell(tools, due)
            reached.set()
            await asyncio.Event().wait()

        hanging = Scheduler((Schedule(name="bell", cron="*/10 * * * *", run=hang),), w.leases, w.tools)
        await hanging.start_due()
        clock.move(601)
        task = asyncio.create_task(hanging.run())
        await asyncio.wait_for(reached.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await bell.scheduler(w).tick() == 1
        assert bell.rung == [NOON + timedelta(minutes=10)] * 2


async def test_a_failing_firing_is_repeated_then_left_as_a_dead_letter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = at(NOON)
    async with world(tmp_path, clock=clock) as w:
        bell = Bell()
        scheduler = bell.scheduler(w, attempts=2)
        await scheduler.tick()
        clock.move(601)
        bell.broken = True
        with caplog.at_level(logging.ERROR):
            assert await scheduler.tick() == 0
            assert await next_time(w) == NOON + timedelta(minutes=10)
            clock.move(60)
            assert await scheduler.tick() == 0
        assert caplog.text.count("a schedule failed") == 2
        (letter,) = await Letters(w.tools).dead()
        assert (letter.consumer, letter.attempts) == ("schedule/bell", 2)
        assert await next_time(w) == NOON + timedelta(minutes=20)
        bell.broken = False
        clock.move(600)
        assert await scheduler.tick() == 1


async def test_a_changed_expression_is_reckoned_anew_and_a_wrong_one_refused(tmp_path: Path) -> None:
    clock = at(NOON)
    async with world(tmp_path, clock=clock) as w:
        bell = Bell()
        await bell.scheduler(w, "0 0 1 1 *").tick()
        await bell.scheduler(w, "*/5 * * * *").tick()
        assert await next_time(w) == NOON + timedelta(minutes=5)
        with pytest.raises(ValueError, match="no cron expression"):
            bell.scheduler(w, "61 * * * *")


# -- the runner ----------------------------------------------------------------------------------


async def test_the_runner_runs_everything_and_stops(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ear, turns = Ear(), []

        async def turn(tools: Tools) -> None:
            turns.append(1)

        runner = JobRunner(
            w.tools,
            w.feed,
            w.leases,
            subscriptions=(Subscription(consumer="ear", handler=ear),),
            projections=(SHOWN,),
            periodic=(
                Periodic(name="turn", seconds=0.01, run=turn),
                Periodic(name="everywhere", seconds=0.01, run=turn, everywhere=True),
            ),
            schedules=(Schedule(name="yearly", cron="0 0 1 1 *", run=Bell()),),
        )
        await runner.start()
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 10)

        async def all_there() -> bool:
            return len(await shown(w, tenant_id)) == 11 and len(ear.heard) == 11 and len(turns) > 5

        await until(all_there)
        await runner.stop()
        count = len(turns)
        await w.note(tenant_id)
        await asyncio.sleep(0)
        assert len(turns) == count
        assert await w.leases_of("two").acquire("consumer/ear") is not None
        assert await w.leases_of("two").acquire("periodic/turn") is not None


async def test_a_job_that_fails_is_logged_begun_again_and_disturbs_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thane.kernel.jobs.runner.FIRST_PAUSE_SECONDS", 0.01)
    async with world(tmp_path) as w:
        calls = []

        async def fails(tools: Tools) -> None:
            calls.append(1)
            raise RuntimeError("broken")

        runner = JobRunner(
            w.tools,
            w.feed,
            w.leases,
            projections=(SHOWN,),
            periodic=(Periodic(name="fails", seconds=0.01, run=fails),),
        )
        await runner.start()
        await until(lambda: len(calls) >= 3)
        tenant_id = await w.tenant()

        async def there() -> bool:
            return len(await shown(w, tenant_id)) == 1

        await until(there)
        await runner.stop()
        assert "a job failed and begins again" in caplog.text
        assert "RuntimeError: broken" in caplog.text


async def test_a_second_process_takes_over_when_the_first_stops(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first, second = Ear(), Ear()

        def runner(server: str, ear: Ear) -> JobRunner:
            leases = w.leases_of(server, ttl_seconds=0.3)
            subscriptions = (Subscription(consumer="ear", handler=ear),)
            return JobRunner(w.tools, w.feed, leases, subscriptions=subscriptions)

        one, two = runner("one", first), runner("two", second)
        await one.start()
        tenant_id = await w.tenant()
        await until(lambda: len(first.heard) == 1)
        await two.start()
        await w.note(tenant_id)
        await until(lambda: len(first.heard) == 2)
        await one.stop()
        await w.note(tenant_id)
        await until(lambda: len(second.heard) == 1)
        await two.stop()
        assert second.of(tenant_id) == [2]
        assert first.of(tenant_id) == [0, 1]


async def test_two_consumers_of_one_name_are_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        subscription = Subscription(consumer="shown", handler=Ear())
        with pytest.raises(TypeError, match="same name"):
            JobRunner(w.tools, w.feed, w.leases, subscriptions=(subscription,), projections=(SHOWN,))
