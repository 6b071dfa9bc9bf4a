"""Order and keyset pages: a walk over the whole set meets every row once, in order."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.entities import Box, User
from tests.store.rows import COMPARED, corner_rows
from tests.store.world import World
from thane.kernel.paging import after, total_order
from thane.kernel.records import Order, Unit, schema_of

SORTABLE = (*COMPARED, "name", "version")
orders = st.lists(
    st.builds(Order, st.sampled_from(COMPARED), st.booleans()),
    max_size=3,
    unique_by=lambda order: order.field,
)


def in_order(boxes: list[Box], order: tuple[Order, ...]) -> list[str]:
    """Ids in this order, by Python: NULL below everything, text by code point, id last."""
    keys = total_order(order)

    def compare(a: Box, b: Box) -> int:
        for key in keys:
            x, y = getattr(a, key.field), getattr(b, key.field)
            if x == y:
                continue
            below = _less(x, y)
            return -1 if below is not key.descending else 1
        return 0

    return [b.id for b in sorted(boxes, key=cmp_to_key(compare))]


def _less(x: Any, y: Any) -> bool:
    return x is None or (y is not None and x < y)


async def walk(world: World, order: tuple[Order, ...], size: int) -> list[str]:
    """All ids, page by page."""
    keys, seen = total_order(order), list[str]()
    position: list[Any] | None = None

    async def page(unit: Unit) -> list[Box]:
        return await unit.list(Box, None if position is None else after(order, position), keys, size)

    while rows := await world.read(page):
        seen += [b.id for b in rows]
        position = [getattr(rows[-1], key.field) for key in keys]
        assert len(seen) <= 1000, "the walk does not end"
    return seen


@pytest.fixture
async def boxes(world: World) -> list[Box]:
    return await world.fill([world.box(**values) for values in corner_rows(60, seed=2)])


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=orders.map(tuple), size=st.sampled_from([1, 7, 59, 60, 61]))
async def test_a_walk_meets_every_row_once_and_in_order(
    world: World, boxes: list[Box], order: tuple[Order, ...], size: int
) -> None:
    assert await walk(world, order, size) == in_order(boxes, order)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", SORTABLE)
async def test_every_sortable_field_can_be_walked_both_ways(
    world: World, boxes: list[Box], name: str, descending: bool
) -> None:
    order = (Order(name, descending),)
    assert await walk(world, order, 7) == in_order(boxes, order)


async def test_rows_that_come_and_go_between_pages_move_no_other_row(world: World) -> None:
    boxes = await world.fill([world.box(number=n // 3) for n in range(30)])
    order = (Box.number.asc(),)
    expected, seen = in_order(boxes, order), list[str]()
    position: list[Any] | None = None
    while True:
        where = None if position is None else after(order, position)

        async def page(unit: Unit, where: Any = where) -> list[Box]:
            return await unit.list(Box, where, total_order(order), 4)

        rows = await world.read(page)
        if not rows:
            break
        seen += [b.id for b in rows]
        position = [rows[-1].number, rows[-1].id]
        await world.boxed(number=-1)  # before the position: must not be met
        await world.remove(rows[0])  # met already: must not make a gap
    assert seen == expected


async def test_pages_know_no_other_tenant(world: World) -> None:
    mine = await world.fill([world.box(number=n) for n in range(6)])
    await world.fill([world.box(world.b, number=n) for n in range(6)], world.b)
    assert await walk(world, (Box.number.desc(),), 2) == [b.id for b in reversed(mine)]


@pytest.mark.parametrize(("cls", "name"), [(Box, "meta"), (Box, "raw"), (User, "email"), (Box, "nothing")])
async def test_what_has_no_order_is_refused(world: World, cls: type[Any], name: str) -> None:
    async def look(unit: Unit) -> None:
        await unit.list(cls, None, (Order(name, False),))

    with pytest.raises(TypeError, match=f"{schema_of(cls).table}.*{name}"):
        await world.read(look)
