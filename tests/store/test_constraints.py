"""What the store refuses: unique indexes by name, references to nothing, values that no engine may cut."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.store.entities import Limits, Part, Sample, Status, Tally, User
from tests.store.world import World
from thane.kernel.errors import AlreadyExists, Invalid
from thane.kernel.records import Unit


async def test_a_composite_index_is_named_and_holds_per_tenant(world: World) -> None:
    await world.boxed(name="taken")
    await world.boxed(world.b, name="taken")
    with pytest.raises(AlreadyExists) as refused:
        await world.boxed(name="taken")
    assert refused.value.index == "ux_boxes_tenant_id_name"
    other = await world.boxed(name="other")
    with pytest.raises(AlreadyExists) as refused:
        await world.change(other, name="taken")
    assert refused.value.index == "ux_boxes_tenant_id_name"


async def test_a_partial_index_holds_only_where_its_condition_does(world: World) -> None:
    await world.boxed(slot=1, status=Status.OPEN)
    shut = await world.boxed(slot=1, status=Status.SHUT)
    await world.boxed(slot=1, status=Status.SHUT)
    await world.boxed(slot=None, status=Status.OPEN)
    await world.boxed(slot=None, status=Status.OPEN)  # NULLs are never equal
    for attempt in (world.boxed(slot=1, status=Status.OPEN), world.change(shut, status=Status.OPEN)):
        with pytest.raises(AlreadyExists) as refused:
            await attempt
        assert refused.value.index == "ux_boxes_open_slot"


async def test_a_blind_index_is_unique_over_the_installation(world: World) -> None:
    async def again(unit: Unit) -> None:
        unit.create(User(id=unit.new_id(User), tenant_id=world.b, email=f"{world.a}@example.com"))

    with pytest.raises(AlreadyExists) as refused:
        await world.run(again, world.b)
    assert refused.value.index == "ux_users_email"


async def test_a_value_that_was_given_up_can_be_taken(world: World) -> None:
    box = await world.boxed(name="the name")
    await world.change(box, name="another")
    second = await world.boxed(name="the name")
    await world.remove(second)
    await world.boxed(name="the name")


async def test_a_reference_to_nothing_names_field_and_row(world: World) -> None:
    with pytest.raises(Invalid, match="user_id: there is no row usr_nobody in users"):
        await world.boxed(user_id="usr_nobody")
    box = await world.boxed()
    with pytest.raises(Invalid, match="user_id"):
        await world.change(box, user_id="usr_nobody")
    await world.change(box, user_id=None)


async def test_a_row_that_is_referred_to_stays(world: World) -> None:
    box = await world.boxed()

    async def hold(unit: Unit) -> None:
        unit.create(Part(id="prt_1", tenant_id=world.a, box_id=box.id))

    await world.run(hold)
    with pytest.raises(Invalid, match="still referred to"):
        await world.remove(box)
    assert await world.get(box) == box


async def test_a_stream_goes_with_its_parent(world: World) -> None:
    box = await world.boxed()

    async def sample(unit: Unit) -> None:
        unit.create_many(
            [Sample(id=unit.new_id(Sample), tenant_id=world.a, box_id=box.id, seq=n) for n in range(3)]
        )

    await world.housekeep(sample)
    with pytest.raises(AlreadyExists) as refused:
        await world.housekeep(sample)
    assert refused.value.index == "ux_samples_box_id_seq"
    await world.remove(box)

    async def count(unit: Unit) -> int:
        return await unit.count(Sample)

    assert await world.read(count) == 0


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"name": None}, "/name", "required"),
    ({"name": "a\0b"}, "/name", "nul"),
    ({"name": "\ud800"}, "/name", "surrogate"),
    ({"title": "x\udfff"}, "/title", "surrogate"),
    ({"name": 7}, "/name", "type"),
    ({"status": "broken"}, "/status", "choice"),
    ({"number": 2**63}, "/number", "out_of_range"),
    ({"number": -(2**63) - 1}, "/number", "out_of_range"),
    ({"number": 1.0}, "/number", "type"),
    ({"number": True}, "/number", "type"),
    ({"open": 1}, "/open", "type"),
    ({"cost": Decimal(1000000000000000000)}, "/cost", "out_of_range"),
    ({"cost": Decimal("0.0000000000000000001")}, "/cost", "out_of_range"),
    ({"cost": Decimal("NaN")}, "/cost", "out_of_range"),
    ({"cost": Decimal("-Infinity")}, "/cost", "out_of_range"),
    ({"cost": 0.1}, "/cost", "type"),
    ({"price": Decimal(100000000)}, "/price", "out_of_range"),
    ({"price": Decimal("0.00001")}, "/price", "out_of_range"),
    ({"seen_at": datetime(2026, 1, 1)}, "/seen_at", "zone"),  # noqa: DTZ001
    ({"raw": "text"}, "/raw", "type"),
    ({"meta": {"a": float("nan")}}, "/meta", "json"),
    ({"meta": {"a": [float("-inf")]}}, "/meta", "json"),
    ({"meta": {"a": 2**53}}, "/meta", "json"),
    ({"meta": {"a\0": 1}}, "/meta", "nul"),
    ({"meta": {"a": ["\0"]}}, "/meta", "nul"),
    ({"meta": {"a": "\ud83d"}}, "/meta", "json"),
    ({"meta": [1]}, "/meta", "json"),
    ({"limits": {"memory": 1}}, "/limits", "type"),
    ({"limits": Limits(memory="much")}, "/limits", "json"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("values", "pointer", "code"), WRONG, ids=lambda v: repr(v)[:40])
async def test_a_value_that_cannot_be_kept_is_refused_with_its_place(
    world: World, values: dict[str, Any], pointer: str, code: str
) -> None:
    box = await world.boxed()
    size = await world.engine.log_size(world.a)
    for attempt in (world.boxed(**values), world.change(box, **values)):
        with pytest.raises(Invalid) as refused:
            await attempt
        assert [(f.pointer, f.code) for f in refused.value.faults] == [(pointer, code)]
    assert await world.get(box) == box
    assert await world.engine.log_size(world.a) == size


async def test_json_that_is_nested_without_end_is_refused(world: World) -> None:
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(Invalid, match="meta"):
        await world.boxed(meta=deep)


async def test_what_looks_like_a_nul_in_json_is_kept(world: World) -> None:
    box = await world.boxed(meta={"a": "\\u0000", "b": "\\"})
    assert (await world.get(box)).meta == {"a": "\\u0000", "b": "\\"}


async def test_json_in_a_table_without_history_is_checked_too(world: World) -> None:
    async def make(unit: Unit) -> None:
        unit.create(Tally(id="tly_1", tenant_id=world.a, kinds={"a": float("nan")}))

    with pytest.raises(Invalid, match="kinds"):
        await world.housekeep(make)


async def test_huge_text_is_kept_whole(world: World) -> None:
    text = "ä line of text\n" * 700_000  # 11 MB
    box = await world.boxed(code=text, title="huge")
    assert (await world.get(box)).code == text


async def test_arithmetic_past_a_column_is_refused_and_harms_nobody(world: World) -> None:
    async def make(unit: Unit) -> None:
        unit.create(Tally(id="tly_1", tenant_id=world.a, n=2**63 - 2, total=Decimal(999999999999999999)))

    await world.housekeep(make)

    def add(**deltas: Any) -> Any:
        async def handler(unit: Unit) -> None:
            unit.increment(Tally(id="tly_1", tenant_id=world.a), **deltas)

        return world.housekeep(handler)

    await add(n=1)
    for deltas in ({"n": 1}, {"total": Decimal(1)}, {"total": Decimal("1e-19")}):
        with pytest.raises(Invalid):
            await add(**deltas)
    await add(n=-1, total=Decimal("0.5"))

    async def look(unit: Unit) -> Tally:
        return await unit.get(Tally, "tly_1")

    tally = await world.read(look)
    assert (tally.n, tally.total) == (2**63 - 2, Decimal("999999999999999999.5"))


@pytest.mark.parametrize(
    "deltas",
    [{"n": 0.5}, {"n": Decimal(1)}, {"nothing": 1}, {"kinds": 1}, {"n": {"a": 1}}, {"id": 1}, {"n": True}],
)
async def test_inexact_arithmetic_is_no_arithmetic(world: World, deltas: dict[str, Any]) -> None:
    unit = world.records.unit(world.context())
    with pytest.raises(TypeError):
        unit.increment(Tally(id="tly_1", tenant_id=world.a), **deltas)
    with pytest.raises(TypeError, match="no counter"):
        unit.increment(world.box(), number=1)
