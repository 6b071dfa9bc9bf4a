"""Leases: one holder at a time, a fence that only grows, and a loss that is noticed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.kernel.jobs.world import FakeClock, until, world
from thane.kernel.errors import StorageFull
from thane.kernel.jobs import Lease, LeaseLost, LeaseRow
from thane.kernel.records import Unit


async def test_of_many_who_want_it_one_gets_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        contenders = [w.leases_of(f"server{n}") for n in range(20)]
        got = await asyncio.gather(*(c.acquire("job") for c in contenders))
        assert len([lease for lease in got if lease is not None]) == 1


async def test_each_new_holder_has_a_higher_fence(tmp_path: Path) -> None:
    clock = FakeClock()
    async with world(tmp_path, clock=clock) as w:
        one, two = w.leases_of("one"), w.leases_of("two")
        first = await one.acquire("job")
        assert first == Lease("job", 1)
        assert await one.acquire("job") == first
        assert await two.acquire("job") is None
        clock.move(15.1)
        second = await two.acquire("job")
        assert second == Lease("job", 2)
        with pytest.raises(LeaseLost, match="held by two/1"):
            await one.renew(first)
        await one.release(first)
        assert await one.acquire("job") is None
        await two.release(second)
        assert await one.acquire("job") == Lease("job", 3)


async def test_a_lease_that_ran_out_is_lost_also_when_nobody_took_it(tmp_path: Path) -> None:
    clock = FakeClock()
    async with world(tmp_path, clock=clock) as w:
        lease = await w.leases.acquire("job")
        assert lease is not None
        clock.move(10)
        await w.leases.renew(lease)
        clock.move(10)
        await w.leases.renew(lease)
        clock.move(15.1)
        with pytest.raises(LeaseLost, match="ran out"):
            await w.leases.renew(lease)
        assert await w.leases.acquire("job") == Lease("job", 2)


async def test_a_restarted_server_takes_its_predecessors_lease_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        before, after = w.leases_of("one", boot="1"), w.leases_of("one", boot="2")
        lease = await before.acquire("job")
        assert lease is not None
        assert await w.leases_of("one-and-a-half").acquire("job") is None
        assert await after.acquire("job") == Lease("job", 2)
        with pytest.raises(LeaseLost):
            await before.renew(lease)


async def test_a_write_of_a_late_holder_does_not_commit(tmp_path: Path) -> None:
    clock = FakeClock()
    async with world(tmp_path, clock=clock) as w:
        one, two = w.leases_of("one"), w.leases_of("two")
        lease = await one.acquire("job")
        assert lease is not None

        async def late(unit: Unit) -> None:
            await one.guard(unit, lease)
            clock.move(16)
            assert await two.acquire("job") is not None
            row = await unit.find(LeaseRow, "lse_x")
            assert row is None
            unit.create(LeaseRow(id="lse_x", name="x", holder="", fence=1, until=unit.now))

        with pytest.raises(LeaseLost):
            await w.tools.housekeep("tnt_x", late)
        assert await w.records.across(LeaseRow, LeaseRow.name == "x") == []


async def test_work_under_a_lease_is_renewed_as_it_runs_and_given_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        one, two = w.leases_of("one", ttl_seconds=0.06), w.leases_of("two", ttl_seconds=0.06)
        go_on = asyncio.Event()

        async def work(lease: Lease) -> int:
            await go_on.wait()
            return lease.fence

        running = asyncio.create_task(one.run_under("job", work))

        async def renewed() -> bool:
            rows = await w.records.across(LeaseRow)
            return bool(rows) and rows[0].version >= 4

        await until(renewed)
        assert await two.run_under("job", work) is None
        go_on.set()
        assert await running == 1
        assert await two.acquire("job") == Lease("job", 2)


async def test_work_whose_lease_is_lost_is_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        one, after = w.leases_of("one", "1", 0.05), w.leases_of("one", "2")
        cancelled, started = asyncio.Event(), asyncio.Event()

        async def work(lease: Lease) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        running = asyncio.create_task(one.run_under("job", work))
        await started.wait()
        assert await after.acquire("job") is not None
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(running, 10)
        assert cancelled.is_set()


async def test_a_store_that_stays_away_costs_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as w:
        leases = w.leases_of("one", ttl_seconds=0.06)

        async def full(lease: Lease) -> None:
            raise StorageFull("the disk is full")

        async def work(lease: Lease) -> None:
            monkeypatch.setattr(leases, "renew", full)
            monkeypatch.setattr(leases, "release", full)
            await asyncio.Event().wait()

        with pytest.raises(LeaseLost, match="in time"):
            await asyncio.wait_for(leases.run_under("job", work), 10)
        assert "was not renewed" in caplog.text
        assert "was not given back" in caplog.text


async def test_what_the_work_raises_comes_through_and_frees_the_lease(tmp_path: Path) -> None:
    async with world(tmp_path) as w:

        async def work(lease: Lease) -> None:
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            await w.leases.run_under("job", work)
        assert await w.leases_of("two").acquire("job") == Lease("job", 2)
