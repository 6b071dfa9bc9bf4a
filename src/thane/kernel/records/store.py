"""`Records`: where units come from, how they are repeated on conflict, and history by index.

The one door to the store for operations, jobs and maintenance. `run` makes a unit, calls
the handler, commits; when a guard fails the handler runs again on a fresh unit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from thane.kernel.context import Context
from thane.kernel.errors import Conflict, HistoryExpired, NotFound
from thane.kernel.ids import IdFactory
from thane.kernel.ledger.leaf import ROW_SALT_BYTES
from thane.kernel.records.checks import check_query
from thane.kernel.records.engine import Committed, Engine, Selection
from thane.kernel.records.entity import schema_of
from thane.kernel.records.horizon import horizon_of
from thane.kernel.records.predicate import Order, Predicate
from thane.kernel.records.prepare import Entrant, Preparer
from thane.kernel.records.rows import decode_row
from thane.kernel.records.schema import Registry, Schema
from thane.kernel.records.unit import Unit

T = TypeVar("T")
E = TypeVar("E")

# A handler that met so many conflicts in a row competes with a loop, not with a person.
ATTEMPTS = 12


class Result(msgspec.Struct, frozen=True):
    """What a handler returned and where its entry stands."""

    value: Any
    committed: Committed


class Records:
    """Units over one engine."""

    def __init__(self, engine: Engine, registry: Registry, preparer: Preparer, ids: IdFactory) -> None:
        self.engine = engine
        self.registry = registry
        self.preparer = preparer
        self.ids = ids

    def unit(self, context: Context, *, housekeeping: bool = False) -> Unit:
        return Unit(self.engine, self.registry, self.preparer, self.ids, context, housekeeping=housekeeping)

    async def read(self, context: Context, handler: Callable[[Unit], Awaitable[T]]) -> T:
        """Run a handler that only reads; TypeError if it queued a write."""
        unit = self.unit(context)
        value = await handler(unit)
        if not unit.is_empty:
            raise TypeError("this operation is declared to have no effect, yet it writes")
        return value

    async def run(
        self,
        context: Context,
        handler: Callable[[Unit], Awaitable[T]],
        entrant: Callable[[Unit, T], Entrant],
    ) -> Result:
        """Run a handler in a unit and commit it with one entry; Conflict after ATTEMPTS lost races."""

        async def once() -> Result:
            unit = self.unit(context)
            value = await handler(unit)
            write_set = await unit.write_set(entrant(unit, value))
            return Result(value, await self.engine.commit(write_set))

        return await _repeated(once)

    async def housekeep(self, context: Context, handler: Callable[[Unit], Awaitable[T]]) -> T:
        """Run a handler that writes only rows without history: no entry, no access row."""

        async def once() -> T:
            unit = self.unit(context, housekeeping=True)
            value = await handler(unit)
            if not unit.is_empty:
                await self.engine.commit(await unit.write_set(None))
            return value

        return await _repeated(once)

    # -- the two other doors ----------------------------------------------------------------

    async def identify(self, cls: type[E], where: Predicate) -> E | None:
        """One row by a unique hash, in any tenant.

        For sign-in, key, refresh, identity provider and set-up link; nothing else may use it.
        """
        schema = schema_of(cls)
        check_query(schema, where, ())
        rows = await self.engine.select(Selection(schema=schema, tenant_id=None, where=where, limit=1))
        return None if not rows else await self.preparer.opened(schema, rows[0].record)

    async def identify_blind(self, cls: type[E], field: str, value: str) -> E | None:
        """As `identify`, by the blind index of a sealed field."""
        schema = schema_of(cls)
        stored = await self.engine.fetch_blind(schema, field, self.preparer.blind(schema, field, value))
        return None if stored is None else await self.preparer.opened(schema, stored.record)

    async def across(self, cls: type[E], where: Predicate | None = None, limit: int = 10_000) -> list[E]:
        """Rows of every tenant by id, read only: super-administrators and maintenance loops."""
        schema, order = schema_of(cls), (Order("id", False),)
        check_query(schema, where, order)
        selection = Selection(schema=schema, tenant_id=None, where=where, order=order, limit=limit)
        rows = await self.engine.select(selection)
        return [await self.preparer.opened(schema, r.record) for r in rows]

    # -- history ----------------------------------------------------------------------------

    async def as_of(self, context: Context, cls: type[E], id: str, index: int) -> E:
        """The row as it was right after entry `index` of the tenant's tree; NotFound if it was not there.

        Sealed and secret fields are empty. HistoryExpired for an index before the retention
        horizon, and for a version that an erasure took.
        """
        horizon = await horizon_of(self.engine, self.registry, context.tenant_id)
        if index < horizon:
            raise HistoryExpired(
                f"index {index} is before the retention horizon, entry {horizon}", extra={"horizon": horizon}
            )
        schema = schema_of(cls)
        at: int | None = await self._last_entry(context, cls, id)
        while at is not None:
            rows = await self.engine.entries(context.tenant_id, at, 1)
            if not rows:
                break
            entry = rows[0]
            place = next(
                (i for i, h in enumerate(entry.heads) if h.schema == schema.table and h.id == id), None
            )
            if place is None:
                break
            head = entry.heads[place]
            if entry.index <= index:
                if head.after is None:
                    break
                if not entry.bodies[place]:
                    raise HistoryExpired(
                        f"the version of {id} at index {index} is not kept any more",
                        extra={"horizon": horizon},
                    )
                found: E = await self.record_of(schema, id, entry.bodies[place])
                return found
            at = head.previous
        raise NotFound(f"there was no {id} at index {index}")

    async def _last_entry(self, context: Context, cls: type[Any], id: str) -> int | None:
        schema = schema_of(cls)
        stored = await self.engine.fetch(schema, context.tenant_id if schema.scoped else None, id)
        if stored is not None:
            return stored.entry
        return await self.engine.last_head(context.tenant_id, schema.table, id)

    async def record_of(self, schema: Schema, id: str, body: bytes) -> Any:
        """The row that a sealed body of an entry holds, sealed and secret fields empty.

        KeyMissing or Erased if its subject is gone.
        """
        plain = await self.preparer.open_body(schema.table, id, body)
        return decode_row(schema, msgspec.json.decode(plain[ROW_SALT_BYTES:]))


async def _repeated(once: Callable[[], Awaitable[T]]) -> T:
    for attempt in range(ATTEMPTS):
        try:
            return await once()
        except Conflict as conflict:
            if attempt + 1 == ATTEMPTS or conflict.extra.get("final"):
                raise
            # Other tasks of this process have committed already; those of another need a moment.
            await asyncio.sleep(0 if attempt < 3 else random.uniform(0, 0.002 * 2**attempt))
    raise AssertionError("unreachable")
