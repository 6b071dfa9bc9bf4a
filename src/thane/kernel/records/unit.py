"""The unit: everything one operation reads and writes, applied together or not at all.

Reads go to the store and are remembered with the version they had; writes wait in the
unit. `write_set` turns them into one batch whose guards hold only if nothing that was
read by `get` has moved. A handler touches nothing but its unit, because on a conflict
it runs again with a new one. Scope comes from the context and cannot be left out.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec

from thane.kernel.clock import from_us
from thane.kernel.context import Context
from thane.kernel.errors import Conflict, IllegalState, Invalid, NotFound
from thane.kernel.ids import IdFactory
from thane.kernel.ledger.leaf import Head
from thane.kernel.records.checks import check_deltas, check_measures, check_query, check_record
from thane.kernel.records.engine import (
    Change,
    Engine,
    Figures,
    Guard,
    Hop,
    Increment,
    Measure,
    Operation,
    Selection,
    Stored,
    Walked,
    WriteSet,
)
from thane.kernel.records.entity import schema_of
from thane.kernel.records.predicate import Order, Predicate, matches
from thane.kernel.records.prepare import Entrant, Preparer
from thane.kernel.records.schema import Registry, Schema
from thane.kernel.records.serving import LOOKED_AT, too_many_to_sort, walk_of
from thane.kernel.records.text import parse_query
from thane.kernel.sealing.envelope import SubjectKey

E = TypeVar("E")
Key = tuple[str, str]


class Unit:
    """One unit of work in one tenant. Made by `Records`; handlers receive it."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        preparer: Preparer,
        ids: IdFactory,
        context: Context,
        *,
        housekeeping: bool = False,
    ) -> None:
        self.context = context
        self.durable = False
        self._engine = engine
        self._registry = registry
        self._preparer = preparer
        self._ids = ids
        self._housekeeping = housekeeping
        self._seen: dict[Key, Stored | None] = {}
        self._guards: dict[Key, Guard] = {}
        self._writes: dict[Key, tuple[Operation, Any]] = {}
        self._increments: builtins.list[Increment] = []
        self._written: set[str] = set()
        self._counted: set[Key] = set()
        self._new_keys: dict[str, SubjectKey] = {}

    # -- what a handler needs to make rows --------------------------------------------

    @property
    def now(self) -> datetime:
        return from_us(self.context.now_us)

    def new_id(self, cls: type[Any]) -> str:
        return self._ids.new(schema_of(cls).prefix)

    # -- reads --------------------------------------------------------------------------

    async def get(self, cls: type[E], id: str) -> E:
        """The row, which from now on must not move before the commit; NotFound."""
        found = await self.find(cls, id)
        if found is None:
            raise NotFound(
                f"there is no {schema_of(cls).noun} {id}", extra={"resource": schema_of(cls).table}
            )
        return found

    async def find(self, cls: type[E], id: str) -> E | None:
        """The row or None; both are guarded."""
        schema = schema_of(cls)
        key = (schema.table, id)
        written = self._writes.get(key)
        if written is not None:
            operation, record = written
            return None if operation is Operation.DELETE else cast("E", record)
        if key in self._counted:
            raise TypeError(f"{schema.table} {id} has queued arithmetic, which a read would not see")
        if not id.isascii():  # no id of ours; it may not even have a form in UTF-8
            return None
        if key in self._seen:
            stored = self._seen[key]
        else:
            stored = await self._engine.fetch(schema, self._scope(schema), id)
            self._remember(schema, id, stored)
        return None if stored is None else await self._open(schema, stored)

    async def first(self, cls: type[E], where: Predicate, *order: Order) -> E | None:
        """The first row that matches, guarded if there is one."""
        rows = await self._select(cls, where, order, 1)
        if not rows:
            return None
        schema, stored = schema_of(cls), rows[0]
        self._remember(schema, stored.record.id, stored)
        return cast("E", await self._open(schema, stored))

    async def list(
        self, cls: type[E], where: Predicate | None = None, order: Sequence[Order] = (), limit: int = 500
    ) -> list[E]:
        """Rows in order (id last).

        They are not guarded: an invariant over a set is a unique index or a row.
        """
        return cast("builtins.list[E]", await self._opened(await self._select(cls, where, order, limit)))

    async def walk(
        self,
        cls: type[E],
        where: Predicate | None,
        order: Sequence[Order],
        behind: Sequence[Any] | None = None,
        limit: int = 500,
    ) -> Walked[E]:
        """Rows in order along an index, behind the place with these sort keys; for lists without an end.

        It looks at a bounded number of rows and may stop short of `limit`: the page says where. Invalid
        if no index gives the order and the rows are too many to be sorted.
        """
        walk = walk_of(self._selection(cls, where, order, limit), behind)
        if walk.most is None and await self._engine.has_more(walk, LOOKED_AT):
            raise too_many_to_sort(walk)
        found = await self._engine.walk(walk)
        return Walked(await self._opened(found.rows), found.stopped)

    async def count(self, cls: type[Any], where: Predicate | None = None) -> int:
        return await self._engine.count(self._selection(cls, where, (), 0))

    async def aggregate(
        self,
        cls: type[Any],
        measures: Mapping[str, Measure],
        by: Sequence[str] = (),
        where: Predicate | None = None,
    ) -> builtins.list[dict[str, Any]]:
        """One dict per group; see `Engine.aggregate`."""
        check_measures(schema_of(cls), measures, by)
        return await self._engine.aggregate(self._selection(cls, where, (), 0), tuple(by), measures)

    def rows_of(
        self, cls: type[Any], where: Predicate | None = None, order: Sequence[Order] = (), limit: int = 500
    ) -> Selection:
        """What `list` would read, as a question for `ask`."""
        return self._selection(cls, where, order, limit)

    def figures_of(
        self, cls: type[Any], measures: Mapping[str, Measure], where: Predicate | None = None
    ) -> Figures:
        """What `aggregate` would read, as a question for `ask`."""
        check_measures(schema_of(cls), measures, ())
        return Figures(selection=self._selection(cls, where, (), 0), measures=measures)

    async def ask(self, *questions: Selection | Figures) -> builtins.list[builtins.list[Any]]:
        """Several questions in one round trip: rows for each Selection, dicts for Figures. Not guarded."""
        found = await self._engine.ask(questions)
        return [
            await self._opened(answer) if isinstance(question, Selection) else answer
            for question, answer in zip(questions, found, strict=True)
        ]

    async def search(
        self, cls: type[E], query: str, where: Predicate | None = None, limit: int = 50
    ) -> builtins.list[E]:
        """Rows whose searchable text matches, the one made last first; the grammar is in docs/search.md."""
        selection = self._selection(cls, where, (), limit)
        if not selection.schema.text_fields:
            raise TypeError(f"{selection.schema.table} has no searchable text")
        found = await self._engine.search(selection, parse_query(query))
        return cast("builtins.list[E]", await self._opened(found))

    async def traverse(self, cls: type[Any], id: str, *edges: str, limit: int = 500) -> builtins.list[Any]:
        """Follow edges by name from one row: `"owns", "runs"` forward, `"~runs"` back."""
        hops = self.hops(schema_of(cls), edges)
        for hop in hops:
            self._refuse_written(hop.schema)
        if not id.isascii():
            return []
        found = await self._engine.traverse(schema_of(cls), self.context.tenant_id, id, hops, limit)
        return await self._opened(found)

    def hops(self, start: Schema, edges: Sequence[str]) -> builtins.list[Hop]:
        """Edge names as hops; Invalid for an edge that does not leave where it should."""
        here = start
        hops: builtins.list[Hop] = []
        for edge in edges:
            forward, name = not edge.startswith("~"), edge.removeprefix("~")
            for schema in self._registry.all() if forward else (here,):
                field = next((f for f in schema.fields if f.edge == name), None)
                if field is not None and (not forward or field.references == here.table):
                    hops.append(Hop(schema, field.name, forward))
                    here = schema if forward else self._registry.get(str(field.references))
                    break
            else:
                raise Invalid(f"no edge {edge!r} leaves {here.table}")
        return hops

    # -- writes -------------------------------------------------------------------------

    def create(self, record: E) -> E:
        """Queue a new row."""
        schema = schema_of(record)
        made: E = msgspec.structs.replace(record, version=1)  # type: ignore[type-var]
        key = (schema.table, made.id)  # type: ignore[attr-defined]
        if key in self._writes:
            raise TypeError(f"{key} is written already in this unit")
        check_record(schema, made)
        self._queue(schema, key, Operation.CREATE, made)
        return made

    def create_many(self, records: Iterable[E]) -> builtins.list[E]:
        """Queue several new rows."""
        return [self.create(record) for record in records]

    async def update(self, record: E, *, when: Predicate | None = None, **values: Any) -> E:
        """Queue a change of a row.

        `when` must hold for the row as it is now (compare-and-set): IllegalState if not.
        """
        schema = schema_of(record)
        id_: str = record.id  # type: ignore[attr-defined]
        current = await self._current(record, when)
        if values.get("id", id_) != id_:
            raise TypeError(f"{schema.table}: a row keeps its id")
        if "updated_at" in schema.by_name:
            values.setdefault("updated_at", self.now)
        key = (schema.table, id_)
        fresh = key in self._writes
        version = current.version if fresh else current.version + 1
        made = cast("E", msgspec.structs.replace(current, version=version, **values))
        check_record(schema, made)
        created = fresh and self._writes[key][0] is Operation.CREATE
        self._queue(schema, key, Operation.CREATE if created else Operation.UPDATE, made)
        return made

    async def delete(self, record: Any, *, when: Predicate | None = None) -> None:
        """Queue a row's end."""
        schema = schema_of(record)
        await self._current(record, when)
        key = (schema.table, record.id)
        if key in self._writes and self._writes[key][0] is Operation.CREATE:
            del self._writes[key]
            return
        self._queue(schema, key, Operation.DELETE, None)

    def create_subject(self, subject: str) -> None:
        """Queue a data key for a new subject (a tenant or a user); it seals from this unit on."""
        made, row = self._preparer.ring.new(subject, self.context.tenant_id)
        self._new_keys[subject] = made
        self.create(row)

    def increment(self, record: Any, **deltas: Any) -> None:
        """Queue arithmetic on a counter; `record` is what it starts from where there is no row yet."""
        schema = schema_of(record)
        if not schema.counter:
            raise TypeError(f"{schema.table} is no counter")
        check_deltas(schema, deltas)
        start = msgspec.structs.replace(record, version=1)
        check_record(schema, start)
        self._refuse_foreign(schema, start)
        self._written.add(schema.table)
        self._counted.add((schema.table, record.id))
        self._increments.append(Increment(schema, record.id, start, deltas))

    # -- the end ------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return not self._writes and not self._increments

    async def write_set(self, entrant: Entrant | None) -> WriteSet:
        """All of it as one batch. `entrant` says what the entry says; None for housekeeping."""
        if (entrant is None) is not self._housekeeping:
            raise TypeError("an operation's unit has an entry, a housekeeping unit has none")
        changes: builtins.list[Change] = []
        heads: builtins.list[Head] = []
        bodies: builtins.list[bytes] = []
        for (table, id), (operation, record) in self._writes.items():
            schema = self._registry.get(table)
            known = self._seen.get((table, id))
            expected = 0 if known is None else known.record.version
            change, head, body = await self._preparer.change(
                self.context, operation, schema, id, record, known, expected, self._new_keys
            )
            changes.append(change)
            if head is not None:
                heads.append(head)
                bodies.append(body)
        guards = tuple(g for k, g in self._guards.items() if k not in self._writes)
        draft = None
        if entrant is not None:
            draft = await self._preparer.draft(self.context, entrant, heads, bodies, self._new_keys)
        return WriteSet(
            tenant_id=self.context.tenant_id,
            draft=draft,
            guards=guards,
            changes=tuple(changes),
            increments=tuple(self._increments),
            durable=self.durable,
            place=None if entrant is None else entrant.place,
        )

    # -- inner --------------------------------------------------------------------------

    def _scope(self, schema: Schema) -> str | None:
        return self.context.tenant_id if schema.scoped else None

    def _selection(
        self, cls: type[Any], where: Predicate | None, order: Sequence[Order], limit: int
    ) -> Selection:
        schema = schema_of(cls)
        self._refuse_written(schema)
        keys = tuple(order)
        if all(key.field != "id" for key in keys):  # the id makes the order total
            keys = (*keys, Order("id", keys[-1].descending if keys else False))
        check_query(schema, where, keys)
        return Selection(schema=schema, tenant_id=self._scope(schema), where=where, order=keys, limit=limit)

    async def _select(
        self, cls: type[Any], where: Predicate | None, order: Sequence[Order], limit: int
    ) -> builtins.list[Stored]:
        return await self._engine.select(self._selection(cls, where, order, limit))

    async def _opened(self, rows: Sequence[Stored]) -> builtins.list[Any]:
        """Records with their sealed fields in the plain."""
        return [await self._open(schema_of(r.record), r) for r in rows]

    async def _open(self, schema: Schema, stored: Stored) -> Any:
        if schema.sealed_fields:
            return await self._preparer.opened(schema, stored.record)
        return stored.record

    async def _current(self, record: Any, when: Predicate | None) -> Any:
        """The row that is about to be changed, which must be the one that the handler holds."""
        schema = schema_of(record)
        current = await self.get(type(record), record.id)
        if current.version != record.version and (schema.table, record.id) not in self._writes:
            raise Conflict(f"{schema.noun} {record.id} has changed since it was read")
        if when is not None and not matches(when, lambda name: getattr(current, name)):
            state = getattr(current, "status", None)
            shown = "" if state is None else f" (status {state})"
            raise IllegalState(f"{schema.noun} {record.id} is not in a state that allows this{shown}")
        return current

    def _remember(self, schema: Schema, id: str, stored: Stored | None) -> None:
        """Guard what was read. Read twice, it must be the same: the handler may have decided by the first."""
        key = (schema.table, id)
        guard = Guard(schema, id, 0 if stored is None else stored.record.version)
        if self._guards.setdefault(key, guard).version != guard.version:
            raise Conflict(f"{schema.noun} {id} has changed since it was read")
        self._seen[key] = stored

    def _refuse_written(self, schema: Schema) -> None:
        if schema.table in self._written:
            raise TypeError(f"{schema.table} has queued writes, which a list would not see")

    def _refuse_foreign(self, schema: Schema, record: Any) -> None:
        if schema.scoped and record.tenant_id != self.context.tenant_id:
            raise TypeError(f"{schema.table}: a unit writes in one tenant only")

    def _queue(self, schema: Schema, key: Key, operation: Operation, record: Any) -> None:
        if self._housekeeping and schema.history:
            raise TypeError(f"a housekeeping unit must not write {schema.table}, which keeps history")
        if record is not None:
            self._refuse_foreign(schema, record)
        self._written.add(schema.table)
        self._writes[key] = (operation, record)
