"""Every row of a table, in pages by id: for loops over more than memory should hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from thane.kernel.records.engine import BareRow, Engine, Selection, Stored
from thane.kernel.records.entity import schema_of
from thane.kernel.records.predicate import Order, Predicate, all_of
from thane.kernel.records.schema import Schema

E = TypeVar("E")
PAGE = 500
BARE_PAGE = 8_000
_BY_ID = (Order("id", False),)


async def pages(
    engine: Engine,
    schema: Schema,
    tenant_id: str | None,
    where: Predicate | None = None,
    *,
    page: int = PAGE,
) -> AsyncIterator[list[Stored]]:
    """Stored rows in order of id. Not of one moment: rows that move meanwhile are seen once or not at all."""
    last: str | None = None
    while True:
        behind = None if last is None else Predicate((">", "id"), (last,))
        selection = Selection(
            schema=schema, tenant_id=tenant_id, where=all_of((where, behind)), order=_BY_ID, limit=page
        )
        found = await engine.select(selection)
        if found:
            yield found
        if len(found) < page:
            return
        last = found[-1].record.id


async def every(
    engine: Engine, cls: type[E], tenant_id: str | None, where: Predicate | None = None
) -> AsyncIterator[E]:
    """Records of a class without sealed fields, in order of id."""
    schema = schema_of(cls)
    if schema.sealed_fields:
        raise TypeError(f"{schema.table} has sealed fields; read it through a unit")
    async for found in pages(engine, schema, tenant_id, where):
        for stored in found:
            yield stored.record


async def bare_pages(
    engine: Engine, schema: Schema, tenant_id: str | None, fields: Sequence[str], *, page: int = BARE_PAGE
) -> AsyncIterator[list[BareRow]]:
    """Bare rows of these fields, the first of which is the id, in order of id; as `pages` otherwise."""
    if fields[0] != "id":
        raise TypeError("the first field is the id, by which pages follow one another")
    last = ""
    while rows := await engine.bare_rows(schema, tenant_id, fields, last, None, page):
        yield rows
        last = rows[-1][0]
