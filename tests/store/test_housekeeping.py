"""Units without an entry, writes that ride along, and the bell that wakes readers of the feed."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.store.entities import Box, Sample, Tally
from tests.store.world import World
from thane.kernel.records import Unit

RIDE_SECONDS = 0.5


async def tally(world: World) -> int:
    async def look(unit: Unit) -> int:
        found = await unit.find(Tally, "tly_1")
        return 0 if found is None else found.n

    return await world.read(look)


async def ride(world: World, n: int = 1) -> None:
    unit = world.records.unit(world.context(), housekeeping=True)
    unit.increment(Tally(id="tly_1", tenant_id=world.a), n=n)
    world.engine.ride(await unit.write_set(None))


async def until(world: World, expected: int, seconds: float) -> float:
    """How long it took until the tally is `expected`."""
    started = time.perf_counter()
    while await tally(world) != expected:
        assert time.perf_counter() - started < seconds, "what rides along did not arrive"
        await asyncio.sleep(0.005)
    return time.perf_counter() - started


async def test_housekeeping_leaves_no_entry(world: World) -> None:
    box = await world.boxed()
    size = await world.engine.log_size(world.a)

    async def keep(unit: Unit) -> str:
        unit.increment(Tally(id="tly_1", tenant_id=world.a), n=1)
        sample = unit.create(Sample(id=unit.new_id(Sample), tenant_id=world.a, box_id=box.id, seq=0))
        return sample.id

    sample_id = await world.housekeep(keep)
    assert await world.engine.log_size(world.a) == size

    async def change(unit: Unit) -> None:
        await unit.update(await unit.get(Sample, sample_id), when=Sample.value == 0, value=1)

    await world.housekeep(change)

    async def delete(unit: Unit) -> None:
        await unit.delete(await unit.get(Sample, sample_id))

    await world.housekeep(delete)
    assert await world.engine.log_size(world.a) == size
    assert await tally(world) == 1


async def test_housekeeping_must_not_touch_rows_with_history(world: World) -> None:
    box = await world.boxed()

    async def create(unit: Unit) -> None:
        unit.create(world.box())

    async def update(unit: Unit) -> None:
        await unit.update(await unit.get(Box, box.id), number=1)

    async def delete(unit: Unit) -> None:
        await unit.delete(await unit.get(Box, box.id))

    for handler in (create, update, delete):
        with pytest.raises(TypeError, match="keeps history"):
            await world.housekeep(handler)
    assert await world.get(box) == box


async def test_a_unit_and_its_entry_belong_together(world: World) -> None:
    with pytest.raises(TypeError, match="has an entry"):
        await world.records.unit(world.context()).write_set(None)
    with pytest.raises(TypeError, match="has none"):
        await world.records.unit(world.context(), housekeeping=True).write_set(world.entrant())


async def test_what_rides_along_arrives_in_time_without_a_commit(world: World) -> None:
    size = await world.engine.log_size(world.a)
    await ride(world)
    await ride(world, 2)
    await until(world, 3, RIDE_SECONDS * 4)
    await ride(world)
    await until(world, 4, RIDE_SECONDS * 4)
    assert await world.engine.log_size(world.a) == size


async def test_what_rides_along_arrives_with_the_next_commit(world: World) -> None:
    await ride(world)
    await world.boxed()
    assert await tally(world) == 1


async def test_what_rides_along_is_there_after_a_close(world: World) -> None:
    await ride(world, 5)
    await world.reopen()
    assert await tally(world) == 5


async def test_a_rider_that_is_refused_harms_nobody(world: World) -> None:
    unit = world.records.unit(world.context(), housekeeping=True)
    unit.create(Sample(id="smp_1", tenant_id=world.a, box_id="box_nobody", seq=0))
    world.engine.ride(await unit.write_set(None))
    await ride(world)
    await world.boxed()
    assert await tally(world) == 1


async def test_the_bell_rings_for_entries_only_and_until_it_is_ended(world: World) -> None:
    rings: list[int] = []
    end = world.engine.wake(lambda: rings.append(1))
    await world.boxed()
    assert len(rings) == 1

    async def keep(unit: Unit) -> None:
        unit.increment(Tally(id="tly_1", tenant_id=world.a), n=1)

    await world.housekeep(keep)
    assert len(rings) == 1
    await asyncio.gather(*(world.boxed() for _ in range(10)))
    assert 2 <= len(rings) <= 11  # one per batch
    heard = len(rings)
    end()
    end()
    await world.boxed()
    assert len(rings) == heard


async def test_the_entry_is_there_when_the_bell_rings(world: World) -> None:
    seen: list[asyncio.Task[int]] = []
    size = await world.engine.log_size(world.a)
    end = world.engine.wake(lambda: seen.append(asyncio.ensure_future(world.engine.log_size(world.a))))
    await world.boxed()
    end()
    assert await seen[0] == size + 1


async def test_a_reader_that_fails_when_woken_stops_nobody(world: World) -> None:
    def fail() -> None:
        raise RuntimeError("on purpose")

    rings: list[int] = []
    ends = [world.engine.wake(fail), world.engine.wake(lambda: rings.append(1))]
    await world.boxed()
    await world.boxed()
    assert len(rings) == 2
    for end in ends:
        end()
