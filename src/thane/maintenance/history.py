"""History past its time: the horizon moves, and what lies before it is emptied.

Per tenant, first one operation states the new horizon (an entry, so that the ledger itself
says what was taken and when); then, entry by entry, the versions that the entries before the
horizon superseded lose their bodies, and those entries their sealed details. So the state at
the horizon and after it can always be asked for. Heads and leaves stay: the tree, the proofs
and `thane verify` hold as before.

Never emptied: a head; the last version of a living row, which nothing superseded; and what an
effect under way still needs, as the horizon stops before the oldest open intent. A crash
loses nothing: how far the emptying has come is a cursor, and doing an entry twice is the same
as once.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from thane.domains.system import ApplyRetention
from thane.kernel.clock import MICROSECOND, from_us
from thane.kernel.jobs import JobCursor, Schedule, Tools
from thane.kernel.jobs.entities import derived_id
from thane.kernel.jobs.rows import every
from thane.kernel.ledger.leaf import decode_leaf
from thane.kernel.operations.entities import OpenIntent
from thane.kernel.records import Unit, schema_of
from thane.kernel.records.engine import EntryRow
from thane.kernel.records.horizon import horizon_of

log = logging.getLogger(__name__)

APPLY: Final = "retention.apply"
CONSUMER: Final = "retention/history"
CRON: Final = "41 3 * * *"
# Entries between two steps of the cursor. Their bodies are in memory meanwhile.
PAGE: Final = 64
Rows = set[tuple[str, str]]


class HistoryRetention:
    """Keeps superseded versions and sealed details for `days`; 0 keeps them for ever."""

    def __init__(self, days: int) -> None:
        self._days = days

    def schedule(self) -> Schedule:
        """Once a day."""

        async def run(tools: Tools, due: Any) -> None:
            del due
            await self.run(tools)

        return Schedule(name="history", cron=CRON, run=run)

    async def run(self, tools: Tools) -> dict[str, int]:
        """Move each tenant's horizon and empty what lies before it; how many entries, by tenant."""
        done: dict[str, int] = {}
        for tenant_id in await tools.records.engine.logs():
            if self._days:
                await self._move(tools, tenant_id)
            # Also without a new horizon, and with retention off since: what was announced is finished.
            if count := await _empty(tools, tenant_id):
                done[tenant_id] = count
        if done:
            log.info("history before the horizon was emptied", extra={"fields": done})
        return done

    async def _move(self, tools: Tools, tenant_id: str) -> None:
        records = tools.records
        limit_us = tools.clock.now_us() - timedelta(days=self._days) // MICROSECOND
        present = await horizon_of(records.engine, records.registry, tenant_id)
        wanted = await _first_from(tools, tenant_id, present, limit_us)
        async for intent in every(records.engine, OpenIntent, tenant_id):
            wanted = min(wanted, intent.intent_index)
        if wanted > present and await _says_more(tools, tenant_id, present, wanted):
            request = ApplyRetention(horizon=wanted, made_before=from_us(limit_us))
            await tools.invoke(APPLY, tenant_id, request)


async def _first_from(tools: Tools, tenant_id: str, low: int, limit_us: int) -> int:
    """Index of the first entry from `low` on that is not older than the limit: times never go back."""
    engine = tools.records.engine
    high = await engine.log_size(tenant_id)
    while low < high:
        middle = (low + high) // 2
        (row,) = await engine.entries(tenant_id, middle, 1)
        if decode_leaf(row.leaf).time < limit_us:
            low = middle + 1
        else:
            high = middle
    return low


async def _says_more(tools: Tools, tenant_id: str, start: int, stop: int) -> bool:
    """Whether these entries tell of more than retention, which is no reason for one entry more a day."""
    while start < stop:
        rows = await tools.records.engine.entries(tenant_id, start, min(PAGE, stop - start))
        if not rows or any(decode_leaf(row.leaf).operation != APPLY for row in rows):
            return bool(rows)
        start = rows[-1].index + 1
    return False


async def _empty(tools: Tools, tenant_id: str) -> int:
    """Go on from where the cursor stands up to the horizon; how many entries."""
    records = tools.records
    id = derived_id("cur", CONSUMER, tenant_id)
    cursor = await records.engine.fetch(schema_of(JobCursor), tenant_id, id)
    start: int = 0 if cursor is None else cursor.record.position
    position, horizon = start, await horizon_of(records.engine, records.registry, tenant_id)
    while position < horizon:
        rows = await records.engine.entries(tenant_id, position, min(PAGE, horizon - position))
        if not rows:
            break  # `thane verify` names what is missing
        for row in rows:
            await _empty_entry(tools, tenant_id, row)
        position = rows[-1].index + 1
        await _remember(tools, tenant_id, id, position)
    return position - start


async def _empty_entry(tools: Tools, tenant_id: str, row: EntryRow) -> None:
    """The versions that this entry superseded, and its own details."""
    engine = tools.records.engine
    superseded: defaultdict[int, Rows] = defaultdict(set)
    for head in row.heads:
        if head.previous is not None:
            superseded[head.previous].add((head.schema, head.id))
    for index, places in (await _places(tools, tenant_id, superseded)).items():
        await engine.blank(tenant_id, index, places, False)
    if row.details is not None:
        await engine.blank(tenant_id, row.index, (), True)


async def _places(tools: Tools, tenant_id: str, superseded: Mapping[int, Rows]) -> dict[int, list[int]]:
    """Where in these entries the bodies of these rows stand; what is empty already is left out."""
    found: dict[int, list[int]] = {}
    for index, rows in superseded.items():
        for earlier in await tools.records.engine.entries(tenant_id, index, 1):
            pairs = zip(earlier.heads, earlier.bodies, strict=True)
            places = [n for n, (h, body) in enumerate(pairs) if body and (h.schema, h.id) in rows]
            if places:
                found[index] = places
    return found


async def _remember(tools: Tools, tenant_id: str, id: str, position: int) -> None:
    async def move(unit: Unit) -> None:
        cursor = await unit.find(JobCursor, id)
        if cursor is None:
            unit.create(JobCursor(id=id, tenant_id=tenant_id, consumer=CONSUMER, position=position))
        elif cursor.position < position:
            await unit.update(cursor, position=position)

    await tools.housekeep(tenant_id, move)
