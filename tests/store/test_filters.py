"""Conditions: an engine finds what `predicate.matches` finds, for whatever can be written."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.store.entities import Box, Limits, Status, User
from tests.store.rows import corner_rows, predicates
from tests.store.world import World
from thane.kernel.errors import Invalid
from thane.kernel.records import Predicate, Unit, all_of
from thane.kernel.records.predicate import matches


def meant(boxes: list[Box], where: Predicate) -> list[str]:
    """Who should be found, by the reference."""
    return sorted(b.id for b in boxes if matches(where, partial(getattr, b)))


async def found(world: World, where: Predicate) -> list[str]:
    async def look(unit: Unit) -> list[str]:
        ids = [b.id for b in await unit.list(Box, where)]
        assert await unit.count(Box, where) == len(ids)
        return ids

    return await world.read(look)


@pytest.fixture
async def boxes(world: World) -> list[Box]:
    return await world.fill([world.box(**values) for values in corner_rows(80)])


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(where=predicates)
async def test_an_engine_finds_what_the_reference_finds(
    world: World, boxes: list[Box], where: Predicate
) -> None:
    assert await found(world, where) == meant(boxes, where)


async def test_the_reference_is_met_by_some_and_missed_by_some(boxes: list[Box]) -> None:
    """Else the comparison above would compare nothing with nothing."""
    for where in (Box.slot > 0, Box.title.has("a"), Box.code.has("B"), Box.meta.contains({"a": 1})):
        assert 0 < len(meant(boxes, where)) < len(boxes)


async def test_null_is_unknown_also_under_not(world: World) -> None:
    none, one = await world.fill([world.box(), world.box(slot=1)])
    for where, expected in (
        (Box.slot == 1, [one]),
        (~(Box.slot == 1), []),
        (Box.slot != 1, []),
        (~(Box.slot != 1), [one]),
        (Box.slot == None, [none]),  # noqa: E711
        (Box.slot != None, [one]),  # noqa: E711
        (~Box.slot.in_([2]), [one]),
        (Box.slot.in_([]), []),
        (~Box.slot.in_([]), [one]),
        ((Box.slot == 1) | (Box.number == 0), [none, one]),
        (~((Box.slot == 1) & (Box.number == 0)), []),
        (~((Box.slot == 1) & (Box.number == 5)), [none, one]),
    ):
        assert await found(world, where) == [b.id for b in expected], where


async def test_prefixes_end_where_they_end(world: World) -> None:
    names = ["a", "ab", "aB", "b", "a\U0010ffff", "a\U0010ffffb", "\U0010ffff", "a\ud7ff", "a\ue000"]
    boxes = await world.fill([world.box(name=n) for n in names])
    for prefix in ("", "a", "A", "a\U0010ffff", "\U0010ffff", "a\ud7ff", "ab", "abc"):
        where = Box.name.startswith(prefix)
        assert await found(world, where) == sorted(b.id for b in boxes if b.name.startswith(prefix)), prefix


async def test_signs_of_pattern_languages_mean_themselves(world: World) -> None:
    boxes = await world.fill(
        [world.box(name=n) for n in ("100%", "100x", "a_b", "axb", "a*b", "a\\b", "[a]", "'")]
    )
    for text in ("%", "_", "*", "\\", "[a]", "'"):
        assert await found(world, Box.name.has(text)) == [b.id for b in boxes if text in b.name]


async def test_containment_is_postgresqls(world: World) -> None:
    box = await world.boxed(meta={"a": [1, 2, {"b": [3]}], "n": None, "t": True, "s": "x", "f": 1.5})
    for document, expected in (
        ({}, True),
        ({"a": []}, True),
        ({"a": [2, 1, 1]}, True),
        ({"a": [{"b": [3]}]}, True),
        ({"a": [{"b": 3}]}, False),
        ({"a": [3]}, False),
        ({"a": 1}, False),
        ({"n": None}, True),
        ({"missing": None}, False),
        ({"t": 1}, False),
        ({"t": True}, True),
        ({"f": 1.5, "s": "x"}, True),
        ({"s": ["x"]}, False),
    ):
        assert (await found(world, Box.meta.contains(document)) == [box.id]) is expected, document


async def test_typed_json_is_searched_as_it_is_stored(world: World) -> None:
    box = await world.boxed(limits=Limits(memory=2, price=Decimal("0.50"), tags=("x",)))
    await world.boxed(limits=Limits())
    for document in ({"memory": 2}, {"price": "0.50"}, {"tags": ["x"]}):
        where = Box.limits.contains(document)
        assert await found(world, where) == [box.id]
        assert matches(where, lambda name: getattr(box, name))


async def test_the_version_can_be_asked_for(world: World) -> None:
    box = await world.boxed()
    await world.change(await world.boxed(), number=1)
    assert await found(world, Predicate(("=", "version"), (1,))) == [box.id]


async def test_many_conditions_and_long_lists_are_answered(world: World) -> None:
    boxes = await world.fill([world.box(number=n) for n in range(50)])
    long = Box.number.in_(range(20, 3000))
    assert await found(world, long) == [b.id for b in boxes[20:]]
    deep = all_of([Box.number != n for n in range(0, 50, 2)])
    assert deep is not None
    assert await found(world, deep) == [b.id for b in boxes[1::2]]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        (Predicate(("=", "nothing"), (1,)), "no field 'nothing'"),
        (User.email == "x", "sealed"),
        (User.email.startswith("x"), "sealed"),
        (Predicate(("prefix", "name"), ("x",)) & Predicate(("contains", "name"), ({},)), "does not fit"),
    ],
)
async def test_what_cannot_be_asked_is_refused(world: World, where: Predicate, why: str) -> None:
    async def look(unit: Unit) -> None:
        await unit.list(User, where)

    with pytest.raises(TypeError, match=why):
        await world.read(look)


@pytest.mark.parametrize(
    "where",
    [
        Box.name == "half \ud800",
        Box.number > 2**63,
        Box.number < -(2**63) - 1,
        Box.cost == Decimal("NaN"),
        Box.cost == Decimal("Infinity"),
        Box.cost > Decimal("0.1234567890123456789"),
        Box.price == Decimal("0.00001"),
    ],
    ids=repr,
)
async def test_values_that_no_row_can_have_are_the_callers_fault(world: World, where: Predicate) -> None:
    async def look(unit: Unit) -> Any:
        return await unit.list(Box, where)

    with pytest.raises(Invalid):
        await world.read(look)


async def test_text_is_never_part_of_a_statement(world: World) -> None:
    hostile = "'; DROP TABLE boxes; --\" \x01 ? :a $1 {}"
    box = await world.boxed(name=hostile, status=Status.OPEN)
    for where in (
        Box.name == hostile,
        Box.name.has(hostile),
        Box.name.startswith(hostile),
        Box.name.in_([hostile]),
    ):
        assert await found(world, where) == [box.id]
