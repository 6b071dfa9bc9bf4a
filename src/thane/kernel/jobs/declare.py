"""What a domain declares of its jobs. Values only; `runner.py` runs them.

**Order.** A consumer sees the entries of one tenant in their order and one at a time;
different tenants do not wait for each other.

**Failure.** An entry that a consumer cannot take is tried again with growing pauses, and
later entries of that tenant wait, or the order would be a promise for good days only.
After `attempts` it becomes a dead letter. Then a `Subscription` with `passes_dead=True`
goes on with the next entry (webhooks, metrics: each entry stands alone); all others stay
where they are until a person retries or skips the letter. A `Projection` never goes on by
itself: a table with a hole is wrong and does not look it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from thane.kernel.clock import Clock
from thane.kernel.context import Context, system_context
from thane.kernel.feed import Entry
from thane.kernel.ids import IdFactory
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit

ATTEMPTS = 8


class Invoke(Protocol):
    """Run an operation as `system` in one tenant: `Pipeline.as_system`."""

    def __call__(
        self, name: str, tenant_id: str, request: Any, *, idempotency_key: str | None = None
    ) -> Awaitable[Any]: ...


class Tools:
    """What a job is given: the records, the clock, and the door to operations."""

    def __init__(self, records: Records, clock: Clock, ids: IdFactory, invoke: Invoke) -> None:
        self.records = records
        self.clock = clock
        self.ids = ids
        self.invoke = invoke

    def context(self, tenant_id: str) -> Context:
        """Who a job is, inside one tenant, now."""
        return system_context(tenant_id, self.ids.new("req"), self.clock.now_us())

    async def housekeep(self, tenant_id: str, handler: Callable[[Unit], Awaitable[Any]]) -> Any:
        """A housekeeping unit in one tenant: rows without history only."""
        return await self.records.housekeep(self.context(tenant_id), handler)


def covers(patterns: Sequence[str], operation: str) -> bool:
    """Whether one of `sandboxes.execute`, `sandboxes.*` or `*` names the operation."""
    entity = operation.partition(".")[0] + ".*"
    return any(pattern in ("*", operation, entity) for pattern in patterns)


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Calls `handler(entry, tools)` for each matching entry, at least once and in order per tenant.

    The handler may be called again for an entry whose effect stands already (a crash
    between the two): give what it does an idempotency key made from tenant and index.
    """

    consumer: str
    handler: Callable[[Entry, Tools], Awaitable[None]]
    operations: tuple[str, ...] = ("*",)
    attempts: int = ATTEMPTS
    passes_dead: bool = False


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """Tables that are filled from the ledger alone.

    `apply(unit, entries)` queues rows of `tables` in a housekeeping unit, which also moves
    the cursor: applied exactly once. It must use nothing but the entries and these tables
    (no clock, no random ids: see `entry_row_id`), or a rebuild would give something else.
    """

    consumer: str
    tables: tuple[type[Any], ...]
    apply: Callable[[Unit, Sequence[Entry]], Awaitable[None]]
    operations: tuple[str, ...] = ("*",)
    attempts: int = ATTEMPTS


class Periodic(msgspec.Struct, frozen=True, kw_only=True):
    """Runs every `seconds`, in one process at a time (under a lease) unless `everywhere`."""

    name: str
    seconds: float
    run: Callable[[Tools], Awaitable[Any]]
    everywhere: bool = False


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Fires by a cron expression in UTC, once over all processes; `run(tools, due)` gets the time it was due.

    Of firings missed while nothing ran, the last one is caught up. A crash in the middle
    fires again with the same `due`: make an idempotency key of it.
    """

    name: str
    cron: str
    run: Callable[[Tools, Any], Awaitable[Any]]
    attempts: int = 3
