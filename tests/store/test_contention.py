"""Races: exactly one winner, nothing lost, nothing decided on what has moved."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from tests.store.entities import Box, Status, Tally
from tests.store.world import World
from thane.kernel.errors import AlreadyExists, Conflict, IllegalState
from thane.kernel.records import Unit

TASKS, ROUNDS = 16, 50


async def test_of_sixteen_who_compare_and_set_exactly_one_wins_each_time(world: World) -> None:
    boxes = await world.fill([world.box() for _ in range(ROUNDS)])

    async def take(box: Box, who: int) -> bool:
        async def handler(unit: Unit) -> None:
            row = await unit.get(Box, box.id)
            await unit.update(row, when=Box.status == Status.NEW, status=Status.SHUT, number=who)

        try:
            await world.run(handler)
        except IllegalState:
            return False
        return True

    for box in boxes:
        won = await asyncio.gather(*(take(box, who) for who in range(TASKS)))
        assert won.count(True) == 1
        found = await world.get(box)
        assert (found.number, found.version) == (won.index(True), 2)


async def test_a_hundred_contended_increments_make_exactly_a_hundred(world: World) -> None:
    async def add(unit: Unit) -> None:
        unit.increment(
            Tally(id="tly_1", tenant_id=world.a),
            n=1,
            total=Decimal("0.1"),
            kinds={"x": 1, "y": Decimal("0.01")},
        )

    results = await asyncio.gather(*(world.run(add) for _ in range(100)))
    assert len({r.committed.index for r in results}) == 100

    async def look(unit: Unit) -> Tally:
        return await unit.get(Tally, "tly_1")

    tally = await world.read(look)
    assert (tally.n, tally.total, tally.version) == (100, Decimal(10), 100)
    assert tally.kinds == {"x": 100, "y": "1.00"}


async def test_a_hundred_contended_reads_and_writes_lose_no_update(world: World) -> None:
    box = await world.boxed()
    tried = 0

    async def add(unit: Unit) -> None:
        nonlocal tried
        tried += 1
        row = await unit.get(Box, box.id)
        await unit.update(row, number=row.number + 1)

    async def worker() -> None:
        for _ in range(10):
            await world.run(add)

    await asyncio.gather(*(worker() for _ in range(10)))
    assert ((await world.get(box)).number, (await world.get(box)).version) == (100, 101)
    assert tried > 100  # else nobody met anybody


async def test_two_who_each_read_the_others_row_do_not_both_write(world: World) -> None:
    """Write skew by id: each may switch off only while the other is on."""
    one, two = await world.fill([world.box(open=True), world.box(open=True)])
    barrier = asyncio.Barrier(2)
    first = {one.id: True, two.id: True}

    async def switch_off(mine: Box, other: Box) -> bool:
        async def handler(unit: Unit) -> bool:
            row, beside = await unit.get(Box, mine.id), await unit.get(Box, other.id)
            if first.pop(mine.id, False):
                await barrier.wait()  # both have read before either writes
            if not beside.open:
                return False
            await unit.update(row, open=False)
            return True

        done: bool = (await world.run(handler)).value
        return done

    outcomes = await asyncio.gather(switch_off(one, two), switch_off(two, one))
    assert sorted(outcomes) == [False, True]


async def test_a_row_that_was_only_read_and_moved_lets_the_handler_run_again(world: World) -> None:
    rule, box = await world.fill([world.box(number=1), world.box()])
    seen: list[int] = []

    async def handler(unit: Unit) -> None:
        limit = await unit.get(Box, rule.id)
        seen.append(limit.number)
        if len(seen) == 1:
            await world.change(rule, number=2)
        await unit.update(await unit.get(Box, box.id), number=limit.number)

    await world.run(handler)
    assert seen == [1, 2]
    assert (await world.get(box)).number == 2


async def test_an_absent_row_that_came_meanwhile_lets_the_handler_run_again(world: World) -> None:
    late = world.box()
    seen: list[bool] = []

    async def handler(unit: Unit) -> None:
        there = await unit.find(Box, late.id) is not None
        seen.append(there)
        if len(seen) == 1:
            await world.fill([late])
        unit.create(world.box(open=there))

    await world.run(handler)
    assert seen == [False, True]


async def test_a_row_read_twice_must_not_have_moved_between(world: World) -> None:
    box = await world.boxed(number=1)
    seen: list[tuple[int, int]] = []

    async def handler(unit: Unit) -> None:
        first = await unit.get(Box, box.id)
        if not seen:
            seen.append((0, 0))
            await world.change(box, number=2)
        second = await unit.first(Box, Box.id == box.id)
        assert second is not None
        seen.append((first.number, second.number))

    await world.run(handler)
    assert seen == [(0, 0), (2, 2)]


async def test_who_loses_every_time_is_told_so(world: World) -> None:
    box = await world.boxed()

    async def handler(unit: Unit) -> None:
        row = await unit.get(Box, box.id)
        await world.change(box, number=row.number + 1)
        await unit.update(row, open=True)

    with pytest.raises(Conflict, match=f"boxes {box.id} has changed"):
        await world.run(handler)


async def test_of_many_who_take_a_name_one_gets_it(world: World) -> None:
    async def take() -> bool:
        try:
            await world.boxed(name="the name")
        except AlreadyExists:
            return False
        return True

    taken = await asyncio.gather(*(take() for _ in range(TASKS)))
    assert taken.count(True) == 1
