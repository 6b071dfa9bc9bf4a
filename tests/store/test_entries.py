"""The ledger side of a unit: one entry each, heads and digests that hold, history by index."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.store.entities import Box, Limits, Sample, Status, Tally, User
from tests.store.world import World
from thane.kernel.errors import AlreadyExists, HistoryExpired, NotFound
from thane.kernel.ledger.leaf import Op, changes_root, decode_leaf, sealed_digest
from thane.kernel.ledger.leaf import row_digest as digest_of
from thane.kernel.ledger.tree import leaf_hash
from thane.kernel.records import Unit, schema_of
from thane.kernel.records.prepare import stored_digest


async def test_every_unit_makes_exactly_one_entry_also_without_a_change(world: World) -> None:
    size = await world.engine.log_size(world.a)

    async def nothing(unit: Unit) -> None:
        await unit.list(Box)

    async def much(unit: Unit) -> None:
        unit.create_many([world.box() for _ in range(5)])
        unit.increment(Tally(id="tly_1", tenant_id=world.a), n=1)

    for n, handler in enumerate((nothing, much, nothing)):
        result = await world.run(handler)
        assert result.committed.index == size + n
    assert await world.engine.log_size(world.a) == size + 3
    heads = [len(e.heads) for e in await world.engine.entries(world.a, size, 10)]
    assert heads == [0, 5, 0]


async def test_an_entry_says_who_did_what(world: World) -> None:
    async def handler(unit: Unit) -> None:
        unit.create(world.box())

    context = world.context()
    entrant = world.entrant(operation="boxes.create", resource="box_1", details=b'{"n":1}')
    result = await world.records.run(context, handler, lambda unit, value: entrant)
    assert result.committed.index is not None
    (entry,) = await world.engine.entries(world.a, result.committed.index, 1)
    leaf = decode_leaf(entry.leaf)
    assert entry.leaf_hash == leaf_hash(entry.leaf) == result.committed.leaf_hash
    assert (leaf.seq, leaf.time) == (result.committed.index, result.committed.time_us)
    assert (leaf.operation, leaf.kind, leaf.outcome, leaf.tenant) == ("boxes.create", "record", "ok", world.a)
    assert (leaf.actor, leaf.request, leaf.resource) == (("system",), context.request_id, "box_1")
    assert (leaf.changes.count, leaf.changes.root) == (1, changes_root(entry.heads).hex())
    assert entry.details is not None
    assert leaf.details == sealed_digest(entry.details)
    opened = await world.records.preparer.open_details(
        world.a, context.request_id, "boxes.create", entry.details
    )
    assert opened == b'{"n":1}'


async def test_heads_bodies_and_digests_hold_for_every_version(world: World) -> None:
    box = await world.boxed(
        cost=Decimal("-0"),
        number=2**60,
        meta={"x": 1.0, "y": [-0.0, 1e21, 5e-324]},
        limits=Limits(tags=("a",)),
    )
    await world.change(box, number=1, cost=Decimal("1.50"), status=Status.OPEN, raw=b"\0")
    await world.change(box, meta={"x": True}, limits=None)
    await world.remove(box)
    previous: tuple[int, str | None] | None = None
    operations = []
    for entry in await world.entries():
        assert [sealed_digest(b) if b else None for b in entry.bodies] == [h.body for h in entry.heads]
        for head, body in zip(entry.heads, entry.bodies, strict=True):
            if head.id != box.id:
                continue
            operations.append(head.op)
            assert (head.previous, head.before) == (previous or (None, None))
            if body:
                plain = await world.records.preparer.open_body("boxes", box.id, body)
                assert digest_of(plain[:16], plain[16:]).hex() == head.after
            else:
                assert head.after is None
            previous = (entry.index, head.after)
    assert operations == [Op.CREATE, Op.UPDATE, Op.UPDATE, Op.DELETE]


async def test_the_stored_row_has_the_digest_that_its_last_entry_names(world: World) -> None:
    values: list[dict[str, Any]] = [
        {"cost": Decimal("-0"), "price": Decimal("0.10")},
        {"meta": {"a": [1.0, -0.0, 1e300], "\ue000": 1, "🙂": 2}},
        {"limits": Limits(price=Decimal("1E+2"), tags=("ä",))},
        {"raw": b"\xff", "title": "x", "number": -(2**63), "status": "open"},
    ]
    boxes = await world.fill([world.box(**v) for v in values])
    await world.change(boxes[0], number=1)
    await world.reopen()
    for box in boxes:
        stored = await world.engine.fetch(schema_of(Box), world.a, box.id)
        assert stored is not None
        assert stored.entry is not None
        (entry,) = await world.engine.entries(world.a, stored.entry, 1)
        (head,) = [h for h in entry.heads if h.id == box.id]
        assert stored_digest(schema_of(Box), stored).hex() == head.after


async def test_rows_without_history_are_in_no_head(world: World) -> None:
    box = await world.boxed()

    async def handler(unit: Unit) -> None:
        unit.create(Sample(id="smp_1", tenant_id=world.a, box_id=box.id, seq=0))
        unit.increment(Tally(id="tly_1", tenant_id=world.a), n=1)
        await unit.update(await unit.get(Box, box.id), number=1)

    await world.run(handler)
    assert [h.schema for h in (await world.entries())[-1].heads] == ["boxes"]


async def test_a_tenants_log_begins_with_its_first_entry(world: World) -> None:
    third = world.ids.new("tnt")
    assert await world.engine.log_size(third) == 0
    assert await world.engine.entries(third, 0, 10) == []
    result = await world.begin(third)
    assert result.committed.index == 0
    assert await world.engine.logs() == [world.a, world.b, third]
    await world.reopen()
    assert await world.engine.logs() == [world.a, world.b, third]
    assert (await world.boxed(third)).tenant_id == third
    assert await world.engine.log_size(third) == 2


async def test_a_tenant_that_was_refused_has_no_log(world: World) -> None:
    third = world.ids.new("tnt")
    taken = world.users[world.a].email

    async def handler(unit: Unit) -> None:
        unit.create_subject(third)
        unit.create(User(id=unit.new_id(User), tenant_id=third, email=taken))

    for _ in range(2):
        with pytest.raises(Exception, match=r"tenants|exists already"):
            await world.run(handler, third)
    assert await world.engine.logs() == [world.a, world.b]
    assert (await world.begin(third)).committed.index == 0


async def test_indexes_have_no_gap_and_times_never_go_back(world: World) -> None:
    await asyncio.gather(*(world.boxed() for _ in range(20)))
    world.clock.fixed = 1_000_000
    await world.boxed(world.a)
    await asyncio.gather(*(world.boxed(name="one of them") for _ in range(10)), return_exceptions=True)
    world.clock.fixed = None
    await world.reopen()
    world.clock.fixed = 2_000_000
    await world.boxed()
    leaves = [decode_leaf(e.leaf) for e in await world.entries()]
    assert [leaf.seq for leaf in leaves] == list(range(len(leaves)))
    assert len(leaves) == await world.engine.log_size(world.a)
    times = [leaf.time for leaf in leaves]
    assert times == sorted(times)


async def test_entries_are_read_from_any_place_in_any_number(world: World) -> None:
    for _ in range(5):
        await world.boxed()
    assert [e.index for e in await world.engine.entries(world.a, 2, 3)] == [2, 3, 4]
    assert [e.index for e in await world.engine.entries(world.a, 5, 100)] == [5]
    assert await world.engine.entries(world.a, 6, 100) == []


# -- history -------------------------------------------------------------------------------


async def test_as_of_finds_every_version_also_of_a_row_that_is_gone(world: World) -> None:
    box = world.box(
        number=0, cost=Decimal("1.50"), meta={"f": 0.5}, limits=Limits(memory=9), raw=b"x", title="t"
    )
    start = await world.engine.log_size(world.a)
    await world.fill([box])
    versions = [await world.get(box)]
    for n in range(1, 5):
        await world.boxed()  # between: nothing happens to the row
        await world.change(box, number=n, cost=Decimal(n) / 8, status=Status.OPEN, seen_at=None)
        versions.append(await world.get(box))

    async def check(expected: dict[int, Box | None]) -> None:
        for index, version in expected.items():
            if version is None:
                with pytest.raises(NotFound):
                    await world.records.as_of(world.context(), Box, box.id, index)
            else:
                found = await world.records.as_of(world.context(), Box, box.id, index)
                assert found == version
                assert str(found.cost) == str(version.cost)

    expected: dict[int, Box | None] = dict.fromkeys(range(start))
    for n, version in enumerate(versions):
        expected |= {start + 2 * n: version, start + 2 * n + 1: version}
    await check(expected)
    end = (await world.remove(box)).committed.index
    assert end is not None
    await check(expected | {end: None, end + 100: None})
    assert await world.engine.last_head(world.a, "boxes", box.id) == end
    assert await world.engine.last_head(world.a, "boxes", "box_nobody") is None
    assert await world.engine.last_head("tnt_nobody", "boxes", box.id) is None


async def test_sealed_and_secret_fields_are_empty_in_history(world: World) -> None:
    user = world.users[world.a]

    async def rename(unit: Unit) -> None:
        await unit.update(await unit.get(User, user.id), name="renamed", phone="+1")

    await world.run(rename)
    old = await world.records.as_of(world.context(), User, user.id, 0)
    assert (old.name, old.email, old.phone, old.token) == ("owner", "", None, None)


async def test_blanked_versions_are_gone_and_the_tree_stays(world: World) -> None:
    box = await world.boxed(number=1)
    index = await world.engine.log_size(world.a) - 1
    await world.change(box, number=2)
    (before,) = await world.engine.entries(world.a, index, 1)
    await world.engine.blank(world.a, index, [0], True)
    (after,) = await world.engine.entries(world.a, index, 1)
    assert (after.bodies, after.details) == ((b"",), None)
    assert (after.leaf, after.leaf_hash, after.heads) == (before.leaf, before.leaf_hash, before.heads)
    with pytest.raises(HistoryExpired):
        await world.records.as_of(world.context(), Box, box.id, index)
    assert (await world.records.as_of(world.context(), Box, box.id, index + 1)).number == 2
    await world.engine.blank(world.a, index, [0], True)
    await world.engine.blank(world.a, index + 1, [], False)
    assert (await world.records.as_of(world.context(), Box, box.id, index + 1)).number == 2
    for tenant_id, missing in ((world.a, index + 2), ("tnt_nobody", 0)):
        with pytest.raises(NotFound):
            await world.engine.blank(tenant_id, missing, [0], True)


async def test_a_refused_unit_leaves_no_entry(world: World) -> None:
    await world.boxed(name="taken")
    size = await world.engine.log_size(world.a)
    with pytest.raises(AlreadyExists):
        await world.boxed(name="taken")
    assert await world.engine.log_size(world.a) == size
    await world.boxed()
    assert await world.engine.log_size(world.a) == size + 1
