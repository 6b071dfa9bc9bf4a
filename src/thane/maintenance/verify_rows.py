"""Verification of rows: each against the head of its last entry, and none too many or too few.

Rows move while a running owner works. One that does not meet the head we know must have a
head in the entries since, and is then not judged in this run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from thane.kernel.jobs.checks import CounterCheck
from thane.kernel.jobs.rows import pages
from thane.kernel.records.engine import Engine, Stored
from thane.kernel.records.entity import schema_of
from thane.kernel.records.predicate import Predicate
from thane.kernel.records.prepare import stored_digest
from thane.kernel.records.schema import Kind, Registry, Schema
from thane.kernel.records.store import Records
from thane.maintenance.findings import UNREADABLE, Findings
from thane.maintenance.helpers import Helpers
from thane.maintenance.quick import Last, RowsFound, RowsWork, ranges
from thane.maintenance.verify_trees import Lasts, RowKey, touched

_COUNTER_READS = 3
# Rows that are read at once.
RANGE = 8_000


class RowPass:
    """Rows of one tenant (or, with an empty `tenant_id`, of schemas that belong to none)."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        tenant_id: str | None,
        last: Lasts,
        sizes: Mapping[str, int],
        findings: Findings,
        helpers: Helpers,
    ) -> None:
        """`last` has the newest head of each row, up to the `sizes` of the logs; it is used up."""
        self._engine = engine
        self._schemas = {
            s.table: s for s in registry.all() if s.history and s.scoped is (tenant_id is not None)
        }
        self._tenant_id = tenant_id
        self._shown = tenant_id or ""
        self._last = last
        self._sizes = sizes
        self._findings = findings
        self._helpers = helpers
        # Rows whose last entry is not the one we know: (the entry they name, the one we know).
        self._strange: dict[RowKey, tuple[int | None, Last | None]] = {}

    async def run(self) -> None:
        """Check every table."""
        for schema in self._schemas.values():
            await self._table(schema)
        await self._settle()

    async def _table(self, schema: Schema) -> None:
        seen = 0
        parts = ranges(self._last[schema.table].keys(), RANGE)
        works = [RowsWork(table=schema.table, tenant_id=self._tenant_id, after=a, until=u) for a, u in parts]
        async for work, found in self._helpers.each(works):
            if found is None:
                seen += await self._slowly(schema, work, seen)
            else:
                await self._confirmed(schema, found)
                seen += len(found.ids)
                self._findings.step(len(found.ids))

    async def _confirmed(self, schema: Schema, found: RowsFound) -> None:
        """Rows whose digest and entry are those of the newest head are right; the others are looked at."""
        last = self._last[schema.table]
        strange = []
        for id, entry, digest in zip(found.ids, found.entries, found.digests, strict=True):
            known = last.get(id)
            if known is None or known.entry != entry or known.after != digest or known.blanked:
                strange.append(id)
            else:
                del last[id]
        self._findings.rows += len(found.ids) - len(strange)
        for id in strange:
            await self._one(schema, id)

    async def _slowly(self, schema: Schema, work: RowsWork, seen: int) -> int:
        """A range that could not be read at once; how many rows there were."""
        count = 0
        where = Predicate((">", "id"), (work.after,))
        if work.until is not None:
            where &= Predicate(("<=", "id"), (work.until,))
        try:
            async for found in pages(self._engine, schema, self._tenant_id, where):
                for stored in found:
                    self._row(schema, stored)
                count += len(found)
                self._findings.step(len(found))
        except UNREADABLE as fault:
            self._findings.problem(
                "row_unreadable",
                self._shown,
                f"a row of {schema.table} after the first {seen + count} cannot be read: {fault}",
            )
            # Each row that must be there is read by itself, to name the bad ones.
            for id in [i for i in self._last[schema.table] if work.after < i <= (work.until or i)]:
                if self._last[schema.table][id].after is not None:
                    await self._one(schema, id)
        return count

    async def _one(self, schema: Schema, id: str) -> None:
        """One row by itself."""
        try:
            stored = await self._engine.fetch(schema, self._tenant_id, id)
        except UNREADABLE as fault:
            self._last[schema.table].pop(id, None)
            self._problem("row_unreadable", schema, id, f"the row cannot be read: {fault}")
            return
        if stored is not None:
            self._row(schema, stored)

    def _row(self, schema: Schema, stored: Stored) -> None:
        self._findings.rows += 1
        id = stored.record.id
        known = self._last[schema.table].pop(id, None)
        if known is None or known.after is None or stored.entry != known.entry:
            self._strange[schema.table, id] = (stored.entry, known)
            return
        if known.blanked:
            self._problem("body_blanked", schema, id, "the body of its present version is empty", known)
        try:
            agrees = stored_digest(schema, stored).hex() == known.after
        except UNREADABLE as fault:
            self._problem("row", schema, id, f"the row's digest cannot be made: {fault}", known)
            return
        if not agrees:
            self._problem("row", schema, id, "the row is not what its last entry made of it", known)

    async def _settle(self) -> None:
        """Rows and heads that do not meet: wrong, unless an entry since the fixed sizes explains it."""
        gone = {
            (table, id): known
            for table in self._schemas
            for id, known in self._last[table].items()
            if known.after is not None
        }
        if not gone and not self._strange:
            return
        since = await self._since()
        for (table, id), known in gone.items():
            if (table, id) not in since:
                self._problem("head_without_row", self._schemas[table], id, "the row is gone", known)
        for (table, id), (entry, last) in self._strange.items():
            moved = self._tenant_id is None or (entry or 0) >= self._sizes[self._tenant_id]
            if moved and (table, id) in since:
                continue
            schema = self._schemas[table]
            if last is None:
                self._problem("row_without_head", schema, id, "no entry has made the row")
            elif last.after is None:
                message = f"the row is there, though entry {last.entry} has deleted it"
                self._problem("row_without_head", schema, id, message, last)
            else:
                message = f"the row names entry {entry} as its last one, which is {last.entry}"
                self._problem("row_entry", schema, id, message, last)

    async def _since(self) -> set[RowKey]:
        """What was written since the sizes were fixed, also in logs that began since."""
        if self._tenant_id is not None:
            return await touched(self._engine, self._tenant_id, self._sizes[self._tenant_id])
        found: set[RowKey] = set()
        for tenant_id in await self._engine.logs():
            found |= await touched(self._engine, tenant_id, self._sizes.get(tenant_id, 0))
        return found

    def _problem(self, kind: str, schema: Schema, id: str, message: str, known: Last | None = None) -> None:
        index = None if known is None else known.entry
        self._findings.problem(kind, self._shown, message, index=index, row=f"{schema.table}/{id}")


async def check_counter(records: Records, check: CounterCheck, tenant_id: str, findings: Findings) -> None:
    """Hold a counter's rows against its sources; counted again before it is called wrong."""
    wrong: list[tuple[str, str]] = []
    for _ in range(_COUNTER_READS):
        stored: dict[str, Any] = {}
        async for found in pages(records.engine, schema_of(check.entity), tenant_id):
            stored.update((s.record.id, s.record) for s in found)
        made = {r.id: r for r in await check.recompute(records, tenant_id)}
        wrong = list(_differences(check, stored, made))
        if not wrong:
            findings.step(len(stored))
            return
    for id, message in wrong:
        findings.problem("counter", tenant_id, message, row=f"{schema_of(check.entity).table}/{id}")


def _differences(
    check: CounterCheck, stored: dict[str, Any], made: dict[str, Any]
) -> Iterable[tuple[str, str]]:
    fields = [f for f in schema_of(check.entity).fields if f.name not in check.ignore]
    for id in sorted(stored.keys() | made.keys()):
        if id not in made:
            numbers = [f.name for f in fields if f.kind in (Kind.INTEGER, Kind.DECIMAL)]
            if any(getattr(stored[id], name) for name in numbers):
                yield id, "the counter counts what has no source"
        elif id not in stored:
            yield id, "the counter is missing, though its sources are there"
        else:
            for field in fields:
                has, should = getattr(stored[id], field.name), getattr(made[id], field.name)
                if has != should:
                    yield id, f"{field.name} is {has}, and its sources make {should}"
