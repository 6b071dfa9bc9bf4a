"""Units that are committed together: a refused one harms no other and leaves no gap; big ones are whole."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.store.entities import Box, Sample, Tally
from tests.store.world import World
from thane.kernel.errors import AlreadyExists, Conflict, Invalid, ThaneError
from thane.kernel.ledger.leaf import decode_leaf
from thane.kernel.ledger.proof import Prover
from thane.kernel.ledger.tree import TileReader, root_of_hashes
from thane.kernel.records import Unit, schema_of
from thane.kernel.records.engine import Change, Committed, Guard, Increment, Operation, WriteSet


async def whole(world: World, tenant_id: str) -> int:
    """Assert that a tenant's tree, recomputed from its leaves, is what the store says; its size."""
    entries = await world.entries(tenant_id)
    assert [e.index for e in entries] == list(range(len(entries)))
    assert [decode_leaf(e.leaf).seq for e in entries] == list(range(len(entries)))
    root = await world.engine.with_tree(
        tenant_id, lambda size, full, part: Prover(TileReader(size, full, part)).root(size)
    )
    assert root == root_of_hashes([e.leaf_hash for e in entries])
    return len(entries)


async def _set(
    world: World, handler: Callable[[Unit], Any], tenant_id: str | None = None, **more: Any
) -> WriteSet:
    unit = world.records.unit(world.context(tenant_id))
    handler(unit)
    return await unit.write_set(world.entrant(tenant_id, **more))


def _first(record: Any) -> Any:
    """The record as its first version."""
    return msgspec.structs.replace(record, version=1)


async def test_refused_units_between_others_leave_no_gap(world: World) -> None:
    await world.boxed(name="taken")
    start = await world.engine.log_size(world.a)
    absent = Guard(schema_of(Box), "box_absent", 7)

    def broken_place(index: int, time_us: int) -> tuple[Change, ...]:
        raise RuntimeError("a place that fails")

    def late_clash(index: int, time_us: int) -> tuple[Change, ...]:
        return (Change(Operation.DELETE, schema_of(Sample), "smp_absent", None, 1, None, {}, {}),)

    def one(**values: Any) -> Callable[[Unit], Any]:
        return lambda unit: unit.create(world.box(**values))

    good = [await _set(world, one(name=f"good {n}")) for n in range(6)]
    clash = await _set(world, one(name="taken"))
    twin = [await _set(world, one(name="twin")) for _ in range(2)]
    guarded = await _set(world, one())
    guarded = WriteSet(tenant_id=world.a, draft=guarded.draft, changes=guarded.changes, guards=(absent,))
    placed = [await _set(world, one(), place=place) for place in (broken_place, late_clash)]
    nobody = await _set(world, one(user_id="usr_nobody"))
    beyond = Increment(
        schema_of(Tally), "tly_1", _first(Tally(id="tly_1", tenant_id=world.a, n=1)), {"n": 2**63}
    )
    over = WriteSet(tenant_id=world.a, draft=good[0].draft, increments=(beyond,))

    order = [
        good[0],
        clash,
        good[1],
        placed[0],
        good[2],
        twin[0],
        guarded,
        twin[1],
        placed[1],
        good[3],
        nobody,
        over,
    ]
    answers = await asyncio.gather(
        *(world.engine.commit(w) for w in [*order, good[4], good[5]]), return_exceptions=True
    )
    kinds = [type(a) for a in answers]
    assert kinds == [
        Committed, AlreadyExists, Committed, RuntimeError, Committed, Committed, Conflict,
        AlreadyExists, Conflict, Committed, Invalid, Invalid, Committed, Committed,
    ]  # fmt: skip
    done = [a.index for a in answers if isinstance(a, Committed)]
    assert done == list(range(start, start + 7))
    assert await whole(world, world.a) == start + 7

    async def names(unit: Unit) -> list[str]:
        return sorted(b.name for b in await unit.list(Box))

    assert await world.read(names) == sorted(["taken", "twin", *(f"good {n}" for n in range(6))])


async def test_a_tenant_whose_first_unit_is_refused_in_a_batch_begins_with_its_second(world: World) -> None:
    third = world.ids.new("tnt")

    def fails(index: int, time_us: int) -> tuple[Change, ...]:
        raise ValueError("too late")

    def nothing(unit: Unit) -> None:
        unit.create_subject(third)

    async def first(**more: Any) -> WriteSet:
        unit = world.records.unit(world.context(third))
        nothing(unit)
        unit_set = await unit.write_set(world.entrant(third, details=None, **more))
        assert unit_set.draft is not None
        return unit_set

    sets = [
        await first(place=fails),
        await _set(world, lambda u: u.create(world.box())),
        await first(place=fails),
    ]
    sets += [await first(), await _set(world, lambda u: u.create(world.box(world.b)), world.b)]
    answers = await asyncio.gather(*(world.engine.commit(w) for w in sets), return_exceptions=True)
    assert [type(a) for a in answers] == [ValueError, Committed, ValueError, Committed, Committed]
    assert await whole(world, third) == 1
    assert await world.engine.logs() == [world.a, world.b, third]
    await world.reopen()
    for tenant_id in (world.a, world.b, third):
        await whole(world, tenant_id)


async def test_rows_that_must_know_their_entrys_index_are_placed_under_the_lock(world: World) -> None:
    def place(index: int, time_us: int) -> tuple[Change, ...]:
        tally = _first(Tally(id=f"tly_{index}", tenant_id=world.a, n=index))
        return (Change(Operation.CREATE, schema_of(Tally), tally.id, tally, 0, None, {}, {}),)

    sets = [await _set(world, lambda u: u.create(world.box()), place=place) for _ in range(5)]
    answers = await asyncio.gather(*(world.engine.commit(w) for w in sets))

    async def look(unit: Unit) -> list[int]:
        return sorted(t.n for t in await unit.list(Tally))

    assert await world.read(look) == [a.index for a in answers] == [1, 2, 3, 4, 5]


async def test_a_unit_of_five_thousand_rows_is_whole(world: World) -> None:
    boxes = [world.box(number=n, title=f"number {n}") for n in range(5000)]
    index = await world.engine.log_size(world.a)
    await world.fill(boxes)
    (entry,) = await world.engine.entries(world.a, index, 1)
    assert (len(entry.heads), len(entry.bodies)) == (5000, 5000)
    assert decode_leaf(entry.leaf).changes.count == 5000
    assert len(entry.leaf) < 1000

    async def look(unit: Unit) -> tuple[int, int]:
        return await unit.count(Box), len(await unit.search(Box, "4999"))

    assert await world.read(look) == (5000, 1)
    late = [*boxes[:10], world.box(name=boxes[4000].name)]
    with pytest.raises(ThaneError):
        await world.fill([world.box(name=b.name) for b in late])
    assert await world.read(look) == (5000, 1)
    assert await whole(world, world.a) == index + 1


async def test_trees_are_whole_after_a_storm_of_all_kinds(world: World) -> None:
    """Seeded: tenants, names that clash, guards that fail, over the bounds of tiles; then a restart."""
    chance = random.Random(7)
    shared = {t: await world.boxed(t) for t in (world.a, world.b)}

    async def one(n: int) -> None:
        tenant_id = chance.choice([world.a, world.b])
        kind = chance.random()
        try:
            if kind < 0.6:
                await world.boxed(tenant_id)
            elif kind < 0.8:
                await world.boxed(tenant_id, name=f"name {n % 40}")
            else:
                await world.change(shared[tenant_id], number=n)
        except (AlreadyExists, Conflict):
            pass

    for start in range(0, 700, 50):
        await asyncio.gather(*(one(n) for n in range(start, start + 50)))
    sizes = [await whole(world, t) for t in (world.a, world.b)]
    assert min(sizes) > 256
    await world.reopen()
    await world.boxed(world.a)
    assert [await whole(world, t) for t in (world.a, world.b)] == [sizes[0] + 1, sizes[1]]
