"""The program's own schedules fire at their time, and wrong counters are told of."""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.house import Home
from thane.bootstrap.upkeep import upkeep
from thane.domains.billing import UsageAggregate
from thane.domains.sandboxes.entities import ExecutionChunk
from thane.kernel.jobs import CounterCheck, Holder, Leases
from thane.kernel.jobs.schedules import Scheduler
from thane.kernel.records import Unit
from thane.kernel.telemetry import Telemetry
from thane.maintenance.counters import CounterWatch

GAUGE = "thane_counter_differences"


def differences(telemetry: Telemetry) -> float:
    (family,) = [f for f in telemetry.families() if f.name == GAUGE]
    ((_, gauge),) = family.children()
    value: float = gauge.value  # type: ignore[union-attr]
    return value


async def test_upkeep_happens_every_day(tmp_path: Path) -> None:
    async with Home(tmp_path / "data", retention__history_days=1) as home:
        await home.complete(await home.execution(await home.sandbox("a")))
        telemetry = Telemetry()
        leases = Leases(home.records, home.clock, Holder(server="s", boot="b"))
        scheduler = Scheduler(upkeep(home.system.modules, home.settings, telemetry), leases, home.tools)
        assert await scheduler.tick() == 0
        home.clock.pass_(days=1, hours=2)
        assert await scheduler.tick() == 3
        assert await home.count(ExecutionChunk) == 0
        assert "retention.apply" in await home.operations()
        assert differences(telemetry) == 0
        assert await scheduler.tick() == 0
        await home.verified()


async def test_the_program_declares_it(tmp_path: Path) -> None:
    async with Home(tmp_path / "data") as home:
        names = {s.name for s in upkeep(home.system.modules, home.settings, Telemetry())}
        assert names == {"retention", "history", "counters"}
        assert GAUGE in {f.name for f in home.system.telemetry.families()}


async def test_a_counter_that_is_wrong_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Home(tmp_path / "data") as home:
        reported: list[int] = []
        checks = [c for m in home.system.modules for c in m.counters if isinstance(c, CounterCheck)]
        watch = CounterWatch(checks, reported.append)
        assert await watch.run(home.tools) == 0
        box = await home.sandbox("a")

        async def count_what_was_not(unit: Unit) -> None:
            month: Any = UsageAggregate(
                id=unit.new_id(UsageAggregate),
                tenant_id=home.tenant_id,
                project_id=box.project_id,
                user_id=home.user_id,
                period="2026-11",
            )
            unit.increment(month, total_cost=Decimal("0.5"))

        await home.change(count_what_was_not)
        with caplog.at_level(logging.ERROR):
            assert await watch.run(home.tools) == 1
        assert reported == [0, 1]
        assert "the counter counts what has no source" in caplog.text
