"""Aggregates: exact, grouped, in order, and None over nothing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.entities import DAY, Box, Status, User
from tests.store.world import World
from thane.kernel.money import CONTEXT
from thane.kernel.records import Measure, Unit

ALL = {
    "n": Measure("count"),
    "priced": Measure("count", "price"),
    "sum": Measure("sum", "cost"),
    "avg": Measure("avg", "cost"),
    "min": Measure("min", "cost"),
    "max": Measure("max", "cost"),
    "cents": Measure("sum", "price"),
    "mean": Measure("avg", "price"),
    "numbers": Measure("sum", "number"),
    "middle": Measure("avg", "number"),
    "first": Measure("min", "created_at"),
    "last": Measure("max", "seen_at"),
    "state": Measure("max", "status"),
}
TINY = Decimal("0.000000000000000001")
HUGE = Decimal("999999999999999999.999999999999999999")
amounts = st.lists(
    st.integers(-(10**36) + 1, 10**36 - 1).map(lambda n: CONTEXT.scaleb(Decimal(n), -18))
    | st.sampled_from([TINY, TINY.copy_negate(), HUGE, HUGE.copy_negate(), Decimal(0)]),
    min_size=1,
    max_size=6,
)


async def figures(world: World, by: tuple[str, ...] = ()) -> list[dict[str, object]]:
    async def look(unit: Unit) -> list[dict[str, object]]:
        return await unit.aggregate(Box, ALL, by)

    return await world.read(look)


def exact_mean(values: list[Decimal], places: int) -> Fraction:
    """Half-even, by fractions."""
    return Fraction(round(sum(map(Fraction, values)) / len(values) * 10**places), 10**places)


async def test_every_figure_over_some_rows(world: World) -> None:
    day = timedelta(days=1)
    await world.fill(
        [
            world.box(cost=Decimal("0.1"), price=Decimal("0.0001"), number=1, seen_at=DAY, status=Status.NEW),
            world.box(cost=Decimal("0.2"), price=Decimal("0.0002"), number=2, seen_at=DAY + day),
            world.box(cost=Decimal("-0.3"), number=2, created_at=DAY - day, status=Status.SHUT),
        ]
    )
    (row,) = await figures(world)
    assert row == {
        "n": 3,
        "priced": 2,
        "sum": Decimal(0),
        "avg": Decimal(0),
        "min": Decimal("-0.3"),
        "max": Decimal("0.2"),
        "cents": Decimal("0.0003"),
        "mean": Decimal("0.0002"),  # 0.00015, half-even
        "numbers": 5,
        "middle": Decimal("1.666666666666666667"),
        "first": DAY - day,
        "last": DAY + day,
        "state": Status.SHUT,
    }
    assert type(row["numbers"]) is int


async def test_over_nothing_only_a_count_is_known(world: World) -> None:
    (row,) = await figures(world)
    assert row == dict.fromkeys(ALL) | {"n": 0, "priced": 0}
    assert await figures(world, ("status",)) == []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=amounts)
async def test_sums_and_averages_are_exact(world: World, values: list[Decimal]) -> None:
    tag = world.ids.new("tag")
    await world.fill([world.box(cost=v, title=tag) for v in values])

    async def look(unit: Unit) -> list[dict[str, Decimal]]:
        return await unit.aggregate(
            Box, {k: ALL[k] for k in ("sum", "avg", "min", "max")}, (), Box.title == tag
        )

    (row,) = await world.read(look)
    assert Fraction(row["sum"]) == sum(map(Fraction, values))
    assert Fraction(row["avg"]) == exact_mean(values, 18)
    assert (row["min"], row["max"]) == (min(values), max(values))


async def test_sums_of_whole_numbers_go_past_64_bits(world: World) -> None:
    await world.fill([world.box(number=2**63 - 1) for _ in range(3)])
    (row,) = await figures(world)
    assert row["numbers"] == 3 * (2**63 - 1)
    assert row["middle"] == 2**63 - 1


async def test_groups_are_in_order_of_their_fields(world: World) -> None:
    await world.fill(
        [
            world.box(status=status, open=flag, slot=slot, cost=Decimal(1))
            for status in (Status.SHUT, Status.NEW)
            for flag in (True, False)
            for slot in (2, None, 1)
        ]
    )

    async def look(unit: Unit) -> list[tuple[object, ...]]:
        rows = await unit.aggregate(Box, {"n": Measure("count")}, ("slot", "open", "status"))
        return [tuple(row.values()) for row in rows]

    assert await world.read(look) == [
        (slot, flag, status, 1)
        for slot in (None, 1, 2)
        for flag in (False, True)
        for status in (Status.NEW, Status.SHUT)
    ]


async def test_a_condition_and_the_tenant_narrow_a_figure(world: World) -> None:
    await world.boxed(number=1, cost=Decimal(5))
    await world.boxed(number=2, cost=Decimal(7))
    await world.boxed(world.b, number=1, cost=Decimal(100))

    async def look(unit: Unit) -> list[dict[str, object]]:
        return await unit.aggregate(Box, {"sum": Measure("sum", "cost")}, (), Box.number == 1)

    assert await world.read(look) == [{"sum": Decimal(5)}]


@pytest.mark.parametrize(
    ("measure", "by"),
    [
        (Measure("median", "cost"), ()),
        (Measure("sum(1); DROP TABLE boxes; --", "cost"), ()),
        (Measure("sum"), ()),
        (Measure("sum", "name"), ()),
        (Measure("avg", "created_at"), ()),
        (Measure("max", "meta"), ()),
        (Measure("count", "nothing"), ()),
        (Measure("count"), ("meta",)),
        (Measure("count"), ("nothing",)),
    ],
)
async def test_figures_without_a_meaning_are_refused(
    world: World, measure: Measure, by: tuple[str, ...]
) -> None:
    async def look(unit: Unit) -> None:
        await unit.aggregate(Box, {"m": measure}, by)

    with pytest.raises(TypeError):
        await world.read(look)


async def test_sealed_fields_are_in_no_figure(world: World) -> None:
    async def look(unit: Unit) -> None:
        await unit.aggregate(User, {"m": Measure("max", "email")})

    with pytest.raises(TypeError):
        await world.read(look)


async def test_several_questions_are_answered_at_once_as_each_would_be(world: World) -> None:
    tag = world.ids.new("tag")
    await world.fill([world.box(number=n, title=tag) for n in range(5)])

    async def look(unit: Unit) -> tuple[Any, Any]:
        mine, order = Box.title == tag, (Box.number.desc(),)
        together = await unit.ask(
            unit.rows_of(Box, mine, order, 3),
            unit.figures_of(Box, ALL, mine),
            unit.rows_of(User, limit=2),
        )
        apart = [
            await unit.list(Box, mine, order, 3),
            await unit.aggregate(Box, ALL, (), mine),
            await unit.list(User, limit=2),
        ]
        return together, apart

    together, apart = await world.read(look)
    assert together == apart
    assert [box.number for box in together[0]] == [4, 3, 2]
