"""The verbs of a unit, one by one: what they return, what they see, what they refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tests.store.entities import DAY, Box, Limits, Part, Sample, Status, Tally, Tenant, User
from tests.store.world import World
from thane.kernel.errors import AlreadyExists, Conflict, IllegalState, NotFound
from thane.kernel.records import Measure, Unit
from thane.kernel.records.engine import WriteSet

FULL: dict[str, Any] = {
    "slot": 7,
    "status": Status.OPEN,
    "number": -(2**63),
    "cost": Decimal("-123456789012345678.123456789012345678"),
    "price": Decimal("99999999.9999"),
    "open": True,
    "seen_at": datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "created_at": datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=timezone(timedelta(hours=-5))),
    "raw": bytes(range(256)),
    "meta": {"a": [1, 2.5, None, True, {"ß": "naïve 🙂"}], "b": -0.0, "big": 1e300},
    "limits": Limits(memory=3, price=Decimal("0.10"), tags=("x", "y")),
    "title": "a title",
    "code": "print('x')",
}


async def test_a_row_comes_back_as_it_was_made(world: World) -> None:
    box = await world.boxed(**FULL)
    found = await world.get(box)
    assert found == box
    assert found.version == 1
    assert {name: getattr(found, name) for name in FULL} == FULL
    assert type(found.status) is Status


async def test_a_row_of_defaults_comes_back_as_it_was_made(world: World) -> None:
    box = await world.boxed()
    found = await world.get(box)
    assert found == box
    assert (found.slot, found.price, found.seen_at, found.raw, found.limits) == (None,) * 5
    assert (found.cost, found.created_at, found.meta) == (Decimal(0), DAY, {})


async def test_rows_survive_a_restart(world: World) -> None:
    box = await world.boxed(**FULL)
    await world.reopen()
    assert await world.get(box) == box


async def test_get_names_what_is_missing_and_find_gives_none(world: World) -> None:
    async def look(unit: Unit) -> None:
        assert await unit.find(Box, "box_0") is None
        assert await unit.find(Box, "böx \ud800") is None
        with pytest.raises(NotFound, match="there is no box box_0"):
            await unit.get(Box, "box_0")

    await world.read(look)


async def test_first_takes_the_order_into_account(world: World) -> None:
    await world.fill([world.box(number=n) for n in (2, 3, 1)])

    async def look(unit: Unit) -> tuple[Box | None, Box | None, Box | None]:
        return (
            await unit.first(Box, Box.number > 0),
            await unit.first(Box, Box.number > 0, Box.number.desc()),
            await unit.first(Box, Box.number > 3),
        )

    by_id, largest, none = await world.read(look)
    assert (by_id and by_id.number, largest and largest.number, none) == (2, 3, None)


async def test_list_is_in_order_of_id_and_count_counts(world: World) -> None:
    made = await world.fill([world.box(number=n) for n in range(5)])

    async def look(unit: Unit) -> None:
        assert await unit.list(Box) == sorted(made, key=lambda b: b.id)
        assert await unit.list(Box, Box.number > 1, limit=2) == made[2:4]
        assert await unit.count(Box) == 5
        assert await unit.count(Box, Box.number > 1) == 3

    await world.read(look)


async def test_update_counts_the_version_and_changes_only_what_is_named(world: World) -> None:
    box = await world.boxed(**FULL)
    changed = await world.change(box, number=1, meta={"a": True})
    assert changed.version == 2
    found = await world.get(box)
    assert found == changed
    assert {n: getattr(found, n) for n in FULL if n not in ("number", "meta")} == {
        n: v for n, v in FULL.items() if n not in ("number", "meta")
    }


async def test_json_that_python_takes_for_equal_is_still_changed(world: World) -> None:
    box = await world.boxed(meta={"a": 1})
    await world.change(box, meta={"a": True})
    found = await world.get(box)
    assert found.meta["a"] is True


async def test_a_value_can_be_set_to_null_and_back(world: World) -> None:
    box = await world.boxed(**FULL)
    nothing = dict.fromkeys(("slot", "price", "seen_at", "raw", "limits", "title", "code"))
    await world.change(box, **nothing)
    found = await world.get(box)
    assert all(getattr(found, n) is None for n in nothing)
    await world.change(box, **{n: FULL[n] for n in nothing})
    assert {n: getattr(await world.get(box), n) for n in FULL} == FULL


async def test_delete_takes_the_row_away(world: World) -> None:
    box = await world.boxed(title="findable")
    await world.remove(box)

    async def look(unit: Unit) -> None:
        assert await unit.find(Box, box.id) is None
        assert await unit.list(Box) == []
        assert await unit.search(Box, "findable") == []

    await world.read(look)


async def test_get_sees_the_units_own_writes(world: World) -> None:
    old, gone = await world.boxed(), await world.boxed()

    async def write(unit: Unit) -> None:
        fresh = unit.create(world.box(name="fresh"))
        assert await unit.get(Box, fresh.id) == fresh
        changed = await unit.update(await unit.get(Box, old.id), number=5)
        assert (await unit.get(Box, old.id)).number == 5
        twice = await unit.update(changed, number=6)
        assert (twice.version, twice.number) == (2, 6)
        await unit.delete(await unit.get(Box, gone.id))
        assert await unit.find(Box, gone.id) is None
        await unit.update(fresh, number=9)

    await world.run(write)
    assert (await world.get(old)).version == 2

    async def rows(unit: Unit) -> list[tuple[int, int]]:
        return sorted((b.number, b.version) for b in await unit.list(Box))

    assert await world.read(rows) == [(6, 2), (9, 1)]


async def test_what_was_made_and_deleted_in_one_unit_was_never_there(world: World) -> None:
    async def write(unit: Unit) -> str:
        box = unit.create(world.box())
        await unit.delete(box)
        return box.id

    result = await world.run(write)
    entry = (await world.engine.entries(world.a, result.committed.index or 0, 1))[0]
    assert entry.heads == ()


async def test_a_list_after_a_write_to_its_table_is_refused(world: World) -> None:
    box = await world.boxed()

    async def write(unit: Unit) -> None:
        await unit.list(Box)
        await unit.update(await unit.get(Box, box.id), number=1)
        for read in (
            unit.list(Box),
            unit.count(Box),
            unit.first(Box, Box.number == 1),
            unit.search(Box, "x"),
            unit.aggregate(Box, {}),
            unit.traverse(User, world.users[world.a].id, "owns"),
        ):
            with pytest.raises(TypeError, match="queued writes"):
                await read
        await unit.list(User)
        unit.increment(Tally(id="tly_1", tenant_id=world.a), n=1)
        with pytest.raises(TypeError, match="queued arithmetic"):
            await unit.get(Tally, "tly_1")

    await world.run(write)


async def test_a_unit_that_only_reads_must_not_write(world: World) -> None:
    async def write(unit: Unit) -> None:
        unit.create(world.box())

    with pytest.raises(TypeError, match="no effect"):
        await world.read(write)


async def test_compare_and_set_sees_the_row_as_it_is(world: World) -> None:
    box = await world.boxed(status=Status.OPEN)

    async def shut(unit: Unit) -> None:
        row = await unit.get(Box, box.id)
        await unit.update(row, when=Box.status == Status.OPEN, status=Status.SHUT)

    await world.run(shut)
    with pytest.raises(IllegalState, match=r"status shut"):
        await world.run(shut)

    async def delete(unit: Unit) -> None:
        await unit.delete(await unit.get(Box, box.id), when=Box.status == Status.OPEN)

    with pytest.raises(IllegalState):
        await world.run(delete)
    assert (await world.get(box)).version == 2


async def test_a_row_that_was_read_elsewhere_and_moved_is_a_conflict(world: World) -> None:
    stale = await world.boxed()
    await world.change(stale, number=1)

    async def update(unit: Unit) -> None:
        await unit.update(stale, number=2)

    async def delete(unit: Unit) -> None:
        await unit.delete(stale)

    for handler in (update, delete):
        unit = world.records.unit(world.context())
        with pytest.raises(Conflict):
            await handler(unit)
    assert (await world.get(stale)).number == 1


async def test_ids_and_tenants_of_a_row_are_for_ever(world: World) -> None:
    box = await world.boxed()

    async def move(unit: Unit) -> None:
        with pytest.raises(TypeError, match="one tenant only"):
            await unit.update(await unit.get(Box, box.id), tenant_id=world.b)
        with pytest.raises(TypeError, match="keeps its id"):
            await unit.update(await unit.get(Box, box.id), id="box_2")

    await world.read(move)


async def test_the_same_row_is_not_made_twice(world: World) -> None:
    box = await world.boxed()

    async def again(unit: Unit) -> None:
        unit.create(box)

    with pytest.raises((Conflict, AlreadyExists)):
        await world.engine.commit(await _write_set(world, again))

    async def twice(unit: Unit) -> None:
        fresh = unit.create(world.box())
        with pytest.raises(TypeError, match="written already"):
            unit.create(fresh)

    await world.run(twice)


async def _write_set(world: World, handler: Callable[[Unit], Awaitable[None]]) -> WriteSet:
    unit = world.records.unit(world.context())
    await handler(unit)
    return await unit.write_set(world.entrant())


async def test_the_other_doors_read_in_every_tenant(world: World) -> None:
    mine, theirs = await world.boxed(name="mine"), await world.boxed(world.b, name="theirs")
    assert await world.records.across(Box) == sorted([mine, theirs], key=lambda b: b.id)
    assert await world.records.across(Box, Box.name == "theirs") == [theirs]
    assert await world.records.identify(Box, Box.name == "theirs") == theirs
    assert await world.records.identify(Box, Box.name == "nobody's") is None


# -- scope ---------------------------------------------------------------------------------


async def test_another_tenants_rows_are_invisible_to_every_verb(world: World) -> None:
    box = await world.boxed(world.b, name="theirs", title="secret words", number=3)
    user = world.users[world.b]

    async def look(unit: Unit) -> None:
        assert await unit.find(Box, box.id) is None
        with pytest.raises(NotFound):
            await unit.get(Box, box.id)
        assert await unit.first(Box, Box.name == "theirs") is None
        assert await unit.list(Box) == []
        assert await unit.list(Box, (Box.number == 3) | ~(Box.number == 3)) == []
        assert await unit.count(Box) == 0
        assert await unit.search(Box, "secret") == []
        assert await unit.traverse(User, user.id, "owns") == []
        assert await unit.traverse(Box, box.id, "~owns") == []
        assert await unit.aggregate(Box, {"n": Measure("count")}, by=["name"]) == []

    await world.read(look)
    with pytest.raises(NotFound):
        await world.records.as_of(world.context(), Box, box.id, 1)


async def test_a_unit_cannot_write_in_another_tenant(world: World) -> None:
    theirs = await world.boxed(world.b)

    async def write(unit: Unit) -> None:
        with pytest.raises(TypeError, match="one tenant only"):
            unit.create(world.box(world.b))
        with pytest.raises(TypeError, match="one tenant only"):
            unit.increment(Tally(id="tly_b", tenant_id=world.b), n=1)
        with pytest.raises(NotFound):
            await unit.update(theirs, number=1)
        with pytest.raises(NotFound):
            await unit.delete(theirs)

    await world.read(write)
    assert await world.get(theirs) == theirs


async def test_rows_of_every_kind_of_schema_are_kept(world: World) -> None:
    box = await world.boxed()

    async def write(unit: Unit) -> None:
        unit.create(Part(id="prt_1", tenant_id=world.a, box_id=box.id, weight=2))
        unit.create(Sample(id="smp_1", tenant_id=world.a, box_id=box.id, seq=0, value=-5))
        unit.increment(Tally(id="tly_1", tenant_id=world.a), n=1)
        assert (await unit.get(Tenant, world.a)).id == world.a

    await world.run(write)

    async def look(unit: Unit) -> tuple[Part, Sample, Tally]:
        return await unit.get(Part, "prt_1"), await unit.get(Sample, "smp_1"), await unit.get(Tally, "tly_1")

    part, sample, tally = await world.read(look)
    assert (part.weight, sample.value, tally.n, tally.version) == (2, -5, 1, 1)
