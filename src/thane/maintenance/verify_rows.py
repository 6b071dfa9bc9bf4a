"""Verification of rows: each against the head of its last entry, and none too many or too few.

Rows move while a running owner works. One that does not meet the head we know must have a
head in the entries since, and is then not judged in this run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from thane.kernel.jobs.checks import CounterCheck
from thane.kernel.jobs.rows import pages
from thane.kernel.records.engine import Engine, Stored
from thane.kernel.records.entity import schema_of
from thane.kernel.records.prepare import stored_digest
from thane.kernel.records.schema import Kind, Registry, Schema
from thane.kernel.records.store import Records
from thane.maintenance.findings import Findings
from thane.maintenance.verify_trees import UNREADABLE, Last, RowKey, touched

_COUNTER_READS = 3


class RowPass:
    """Rows of one tenant (or, with an empty `tenant_id`, of schemas that belong to none)."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        tenant_id: str | None,
        last: MutableMapping[RowKey, Last],
        sizes: Mapping[str, int],
        findings: Findings,
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
        # Rows whose last entry is not the one we know: (the entry they name, the one we know).
        self._strange: dict[RowKey, tuple[int | None, Last | None]] = {}

    async def run(self) -> None:
        """Check every table."""
        for schema in self._schemas.values():
            await self._table(schema)
        await self._settle()

    async def _table(self, schema: Schema) -> None:
        seen = 0
        try:
            async for found in pages(self._engine, schema, self._tenant_id):
                for stored in found:
                    self._row(schema, stored)
                seen += len(found)
                self._findings.step(len(found))
        except UNREADABLE as fault:
            self._findings.problem(
                "row_unreadable",
                self._shown,
                f"a row of {schema.table} after the first {seen} cannot be read: {fault}",
            )
            await self._one_by_one(schema)

    async def _one_by_one(self, schema: Schema) -> None:
        """A page could not be read: each row that must be there is read by itself, to name the bad ones."""
        for table, id in [key for key in self._last if key[0] == schema.table]:
            if self._last[table, id].after is None:
                continue
            try:
                stored = await self._engine.fetch(schema, self._tenant_id, id)
            except UNREADABLE as fault:
                self._last.pop((table, id))
                self._problem("row_unreadable", schema, id, f"the row cannot be read: {fault}")
                continue
            if stored is not None:
                self._row(schema, stored)

    def _row(self, schema: Schema, stored: Stored) -> None:
        self._findings.rows += 1
        id = stored.record.id
        known = self._last.pop((schema.table, id), None)
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
        gone = {k: v for k, v in self._last.items() if v.after is not None and k[0] in self._schemas}
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
