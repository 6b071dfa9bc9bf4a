"""The rows of one parent as a source: what an execution prints, and samples of what it uses.

They have no history and no entries; they have (parent, seq) from their single writer. The
source is over when the parent's row says that nothing will be added.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import msgspec

from thane.kernel.answers import encode
from thane.kernel.errors import Fault, HistoryExpired, Invalid, NotFound
from thane.kernel.live.choice import Choice
from thane.kernel.live.events import Event, Row
from thane.kernel.live.source import Item
from thane.kernel.records.engine import Engine, Selection
from thane.kernel.records.predicate import Order, Predicate, matches
from thane.kernel.records.schema import Schema

SEQ = "seq"


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """What a domain says of a stream: its schema, its parent's, and when a parent adds no more."""

    schema: Schema
    parent: Schema
    settled: Predicate

    def __post_init__(self) -> None:
        if self.schema.stream is None or SEQ not in self.schema.by_name:
            raise TypeError(f"{self.schema.table} is no stream: it needs `stream=` and a field `{SEQ}`")


class ParentSource:
    """The rows of one parent, in order of their seq."""

    def __init__(self, engine: Engine, streamed: Streamed, tenant_id: str, parent: str) -> None:
        self._engine = engine
        self._streamed = streamed
        self._schema = streamed.schema
        self._tenant_id = tenant_id
        self.parent: str = parent

    @property
    def key(self) -> Hashable:
        return (self._tenant_id, self._schema.table, self.parent)

    async def check(self, position: int | None) -> None:
        """NotFound without the parent; HistoryExpired if rows from `position` on are gone by retention;
        Invalid for a position that is not reached yet."""
        if await self._parent_row() is None:
            raise NotFound(f"there is no {self.parent[:80]}", extra={"resource": self._streamed.parent.table})
        if position is None:
            return
        first, end = await self._select(0, 1), await self.end()
        kept_from = _seq(first[0]) if first else 0
        if position < kept_from or (position > end and await self.settled()):
            raise HistoryExpired(
                f"the rows of {self.parent} at {position} are not kept any more", extra={"horizon": kept_from}
            )
        if position > end:
            detail = f"{self.parent} has {end} rows so far; {position - 1} lies beyond them"
            raise Invalid(detail, faults=(Fault("/after", "position", detail),))

    async def end(self) -> int:
        last = await self._select(0, 1, descending=True)
        return _seq(last[0]) + 1 if last else 0

    async def page(self, position: int, limit: int) -> Sequence[Item]:
        return [Item(_seq(record), record) for record in await self._select(position, limit)]

    async def settled(self) -> bool:
        row = await self._parent_row()
        return row is None or matches(self._streamed.settled, lambda name: getattr(row, name))

    def name(self, position: int) -> str:
        return f"{self.parent}/{position - 1}"

    async def events(self, item: Item, choice: Choice) -> Sequence[Event]:
        if choice.question not in item.memo:
            item.memo[choice.question] = choice.admits(item.value)
        if not item.memo[choice.question]:
            return ()
        if choice.key not in item.memo:
            record = item.value
            row = Row(
                parent=self.parent,
                seq=item.position,
                entity=self._schema.table,
                id=record.id,
                operation="create",
                version=record.version,
                record=choice.show(record),
            )
            item.memo[choice.key] = (Event("create", self.name(item.position + 1), encode(row)),)
        made: Sequence[Event] = item.memo[choice.key]
        return made

    async def _parent_row(self) -> Any | None:
        if not self.parent.isascii():
            return None
        stored = await self._engine.fetch(self._streamed.parent, self._tenant_id, self.parent)
        return None if stored is None else stored.record

    async def _select(self, position: int, limit: int, *, descending: bool = False) -> list[Any]:
        stream = self._schema.stream
        assert stream is not None
        mine = Predicate(("=", stream), (self.parent,)) & Predicate((">=", SEQ), (position,))
        selection = Selection(
            schema=self._schema,
            tenant_id=self._tenant_id,
            where=mine,
            order=(Order(SEQ, descending),),
            limit=limit,
        )
        return [stored.record for stored in await self._engine.select(selection)]


def _seq(record: Any) -> int:
    found: int = getattr(record, SEQ)
    return found
