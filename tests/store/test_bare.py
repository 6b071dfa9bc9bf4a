"""Bare rows and entries: the same digests as through records, on every engine."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.store.entities import Box
from tests.store.world import World
from thane.kernel.jobs.rows import bare_pages
from thane.kernel.records import schema_of
from thane.kernel.records.bare import bare_digest, bare_fields
from thane.kernel.records.engine import Selection
from thane.kernel.records.prepare import stored_digest

pytestmark = pytest.mark.every_engine


async def test_a_bare_row_has_the_digest_of_its_record(world: World) -> None:
    for amount in ("0", "1.5", "-3.25", "123456789.000000000000000001"):
        await world.boxed(
            cost=Decimal(amount), meta={"b": 1, "a": [None, "é"]}, open=True, raw=b"\0\xff", title="Title"
        )
    schema = schema_of(Box)
    stored = await world.engine.select(Selection(schema=schema, tenant_id=world.a, limit=50))
    digest = bare_digest(schema)
    rows = await world.engine.bare_rows(schema, world.a, bare_fields(schema), "", None)
    assert [digest(row) for row in rows] == [
        stored_digest(schema, s).hex() for s in sorted(stored, key=lambda s: s.record.id)
    ]
    assert len(rows) == 4


async def test_bare_pages_give_every_row_once(world: World) -> None:
    made = sorted([(await world.boxed()).id for _ in range(5)])
    pages = bare_pages(world.engine, schema_of(Box), world.a, ("id",), page=2)
    assert [row[0] async for page in pages for row in page] == made
    with pytest.raises(TypeError, match="the first field is the id"):
        await anext(bare_pages(world.engine, schema_of(Box), world.a, ("name", "id")))


async def test_entries_at_their_indexes_come_in_order(world: World) -> None:
    for _ in range(4):
        await world.boxed()
    found = await world.engine.entries_at(world.a, [3, 1, 99])
    assert [entry.index for entry in found] == [1, 3]
    bare = await world.engine.bare_entries(world.a, 1, 3)
    assert [(b[0], b[1].encode(), b[2]) for b in bare] == [
        (e.index, e.leaf, e.leaf_hash) for e in await world.engine.entries(world.a, 1, 3)
    ]
