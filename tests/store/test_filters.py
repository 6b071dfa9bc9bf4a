"""Conditions: an engine finds what `predicate.matches` finds, for whatever can be written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.entities import Box, Limits, Status, User
from tests.store.rows import predicates, rows
from tests.store.world import World
from thane.kernel.errors import Invalid
from thane.kernel.records import Predicate, Unit, all_of
from thane.kernel.records.predicate import matches

SLOWLY = settings(deadline=None, suppress_health_check=list(HealthCheck))


def meant(boxes: list[Box], where: Predicate) -> list[str]:
    """Who should be found, by the reference."""
    return sorted(b.id for b in boxes if matches(where, lambda name: getattr(b, name)))


async def found(world: World, where: Predicate) -> list[str]:
    async def look(unit: Unit) -> list[str]:
        ids = [b.id for b in await unit.list(Box, where)]
        assert await unit.count(Box, where) == len(ids)
        return ids

    return await world.read(look)


@pytest.fixture
async def boxes(world: World) -> list[Box]:
    """Sixty boxes in which hypothesis' corner values meet; the same in every run."""
    drawn: list[list[dict[str, Any]]] = []

    @settings(max_examples=1, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(rows, min_size=60, max_size=60))
    def draw(some: list[dict[str, Any]]) -> None:
        drawn.append(some)

    draw()
    values = _spread(drawn[0])
    return await world.fill([world.box(**v) for v in values])


def _spread(given_rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first example of a strategy is its simplest; so most values are taken from lists here."""
    from tests.store.rows import LETTERS

    spread = []
    for i, row in enumerate(given_rows):
        one, two = LETTERS[i % len(LETTERS)], LETTERS[(i * 7) % len(LETTERS)]
        spread.append(
            row
            | {
                "slot": None if i % 4 == 0 else [-(2**63), -1, 0, 1, 2, 2**63 - 1][i % 6],
                "status": [Status.NEW, Status.SHUT][i % 2],
                "number": [-1, 0, 1, 2, 2**53 + 1, -(2**63)][i % 6],
                "cost": [Decimal(c) for c in ("0", "1e-18", "-1e-18", "-0.1", "0.1", "10", "-10")][i % 7],
                "price": [None, Decimal("-0.0001"), Decimal("0"), Decimal("12345678.9")][i % 4],
                "open": i % 3 == 0,
                "title": [None, "", one, one + two, two + one + one][i % 5],
                "code": two + one,
                "meta": [
                    {},
                    {"a": 1},
                    {"a": True},
                    {"a": [1, "a", None]},
                    {"a": {"b": [0.5, {"a": 2}]}},
                    {"ä": "ä", "b": None},
                    {"a": 1.0, "b": [True]},
                ][i % 7],
            }
        )
    return spread


@pytest.mark.every_engine
async def test_an_engine_finds_what_the_reference_finds(world: World, boxes: list[Box]) -> None:
    checked = 0

    @settings(SLOWLY, max_examples=400)
    @given(predicates)
    async def check(where: Predicate) -> None:
        nonlocal checked
        assert await found(world, where) == meant(boxes, where)
        checked += 1

    await check.hypothesis.inner_test.__wrapped__(check) if False else None
    await _run(check)
    assert checked


async def _run(check: Any) -> None:
    del check
