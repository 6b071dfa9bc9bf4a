"""Rows without history that have had their time: found over all tenants, deleted one tenant at a time.

Loops over what the modules declare. Each batch is a housekeeping unit of its own, so no
commit is long and a crash leaves nothing half done: the next run goes on. It must not touch
rows with history (`history.py` empties their old versions and deletes none), and deletes no
row that a digest in the ledger is still to be made of.

Signed checkpoints are not thinned. Each leaf of the root log names one, and `thane verify`
holds the root log against them; and those of the root log itself carry no time to thin by.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from thane.kernel.clock import MICROSECOND, from_us, to_us
from thane.kernel.context import SYSTEM_TENANT
from thane.kernel.jobs import JobCursor, Schedule, Tools
from thane.kernel.jobs.rows import every, pages
from thane.kernel.module import After, Retention
from thane.kernel.records import Predicate, Schema, Unit
from thane.kernel.records.schema import Kind
from thane.kernel.settings_schema import Retention as Settings

log = logging.getLogger(__name__)

BATCH: Final = 200
CRON: Final = "17 * * * *"


class RowRetention:
    """Deletes rows that are older than the settings let them be."""

    def __init__(self, rules: Sequence[Retention], settings: Settings) -> None:
        """TypeError for a rule about a schema with history, or one that names no setting."""
        self._rules = tuple(rules)
        self._settings = settings
        for rule in self._rules:
            if rule.schema.history:
                raise TypeError(f"{rule.schema.table} keeps history; retention deletes none of its rows")
            if rule.setting and (not rule.setting.endswith("_days") or not hasattr(settings, rule.setting)):
                raise TypeError(f"{rule.schema.table}: retention.{rule.setting} is no setting in days")

    def schedule(self) -> Schedule:
        """Once an hour."""

        async def run(tools: Tools, due: Any) -> None:
            del due
            await self.sweep(tools)

        return Schedule(name="retention", cron=CRON, run=run)

    async def sweep(self, tools: Tools) -> dict[str, int]:
        """Delete all that is due now: how many rows, by table (only tables that lost some)."""
        gone: dict[str, int] = {}
        for rule in self._rules:
            limit_us = self._limit_us(rule, tools.clock.now_us())
            if limit_us is None:
                continue
            count = await _Sweep(tools, rule, limit_us).run()
            if count:
                gone[rule.schema.table] = gone.get(rule.schema.table, 0) + count
        if gone:
            log.info("rows past their retention were deleted", extra={"fields": gone})
        return gone

    def _limit_us(self, rule: Retention, now_us: int) -> int | None:
        """What is older goes; None keeps all."""
        if not rule.setting:
            return now_us
        days: int = getattr(self._settings, rule.setting)
        return now_us - timedelta(days=days) // MICROSECOND if days else None


class _Sweep:
    """One rule, once."""

    def __init__(self, tools: Tools, rule: Retention, limit_us: int) -> None:
        self._tools = tools
        self._rule = rule
        self._limit_us = limit_us
        self._engine = tools.records.engine
        self._sealed: dict[str, int] | None = None

    async def run(self) -> int:
        rule, gone = self._rule, 0
        if rule.sealed_by is not None:
            cursors = every(self._engine, JobCursor, None, JobCursor.consumer == rule.sealed_by)
            self._sealed = {c.tenant_id: c.position async for c in cursors}
        async for found in pages(self._engine, rule.schema, None, self._where(), page=BATCH):
            by_tenant: defaultdict[str, list[Any]] = defaultdict(list)
            for stored in found:
                tenant_id = stored.record.tenant_id if rule.schema.scoped else SYSTEM_TENANT
                if self._is_sealed(tenant_id, stored.record):
                    by_tenant[tenant_id].append(stored.record)
            for tenant_id, records in by_tenant.items():
                gone += await self._delete(tenant_id, await self._free(tenant_id, records))
            await asyncio.sleep(0)  # a long sweep lets requests through
        return gone

    def _where(self) -> Predicate:
        kind = self._rule.schema.by_name[self._rule.field].kind
        limit: Any = from_us(self._limit_us) if kind is Kind.TIME else self._limit_us
        old = Predicate(("<", self._rule.field), (limit,))
        return old if self._rule.where is None else old & self._rule.where

    def _is_sealed(self, tenant_id: str, record: Any) -> bool:
        return self._sealed is None or _time_us(record, self._rule.field) < self._sealed.get(tenant_id, 0)

    async def _free(self, tenant_id: str, records: list[Any]) -> list[Any]:
        """Those that no other row holds up."""
        after = self._rule.after
        if after is None:
            return records
        names = {getattr(record, after.reference) for record in records}
        held = {name for name in names if await self._holds(after, tenant_id, name)}
        return [record for record in records if getattr(record, after.reference) not in held]

    async def _holds(self, after: After, tenant_id: str, id: str) -> bool:
        stored = await self._engine.fetch(after.schema, _scope(after.schema, tenant_id), id)
        if stored is None:
            return False
        return getattr(stored.record, after.field) is None or (
            _time_us(stored.record, after.field) >= self._limit_us
        )

    async def _delete(self, tenant_id: str, records: list[Any]) -> int:
        if not records:
            return 0

        async def delete(unit: Unit) -> int:
            count = 0
            for record in records:
                present = await unit.find(type(record), record.id)
                # One that has changed since may have a longer time before it.
                if present is not None and present.version == record.version:
                    await unit.delete(present)
                    count += 1
            return count

        gone: int = await self._tools.housekeep(tenant_id, delete)
        return gone


def _scope(schema: Schema, tenant_id: str) -> str | None:
    return tenant_id if schema.scoped else None


def _time_us(record: Any, field: str) -> int:
    value = getattr(record, field)
    return value if isinstance(value, int) else to_us(value)
