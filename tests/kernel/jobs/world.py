"""A small real store for the tests of jobs, signing, verification and audit: SQLite, keys, two entities."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from thane.adapters.sqlite import SqliteEngine
from thane.kernel.clock import SystemClock
from thane.kernel.context import Context, system_context
from thane.kernel.feed import Feed
from thane.kernel.ids import IdFactory
from thane.kernel.jobs import ENTITIES as JOB_ENTITIES
from thane.kernel.jobs import Holder, Leases, LedgerSigner, Tools
from thane.kernel.ledger.leaf import Kind
from thane.kernel.records import (
    Entrant,
    Field,
    Index,
    Record,
    Records,
    Registry,
    Result,
    Unit,
    entity,
    field,
    key,
    ref,
    schema_of,
)
from thane.kernel.records.keys import SubjectKeyRow, SubjectRing
from thane.kernel.records.prepare import Preparer
from thane.kernel.records.steps import difference, digest
from thane.kernel.sealing.keyring import KeyFolder

T = TypeVar("T")
LEDGER = "thane.test/log"


class FakeClock:
    """Stands still until it is moved; given to whatever compares times."""

    def __init__(self, now_us: int = 1_764_000_000_000_000) -> None:
        self.now = now_us

    def now_us(self) -> int:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000)


@entity("owners", "own", scoped=False)
class Owner(Record):
    id: Field[str] = key()
    name: Field[str] = field()


@entity("notes", "not", Index("tenant_id", "title"))
class Note(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = ref("owners")
    title: Field[str] = field()
    secret: Field[str | None] = field(default=None, sealed=True)
    amount: Field[Decimal] = field(default=Decimal(0))


@entity("tallies", "tal", history=False, counter=True)
class Tally(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = field()
    notes: Field[int] = field(default=0)
    amount: Field[Decimal] = field(default=Decimal(0))


@entity("shown", "shn", history=False)
class Shown(Record):
    """What the tests' projection makes of an entry."""

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    entry_index: Field[int] = field()
    operation: Field[str] = field()


class World:
    """An open store with what works on it."""

    def __init__(self, path: Path, *entities: type[Any], clock: Any = None, server: str = "one") -> None:
        self.path = path
        self.clock = clock or SystemClock()
        self.registry = Registry()
        for cls in (Owner, Note, Tally, Shown, SubjectKeyRow, *JOB_ENTITIES, *entities):
            self.registry.add(schema_of(cls))
        self.engine = SqliteEngine(path / "store.db", self.registry, self.clock)
        self.folder = KeyFolder.open_or_create(path / "keys", ledger_name=LEDGER)
        self.ids = IdFactory()
        self.records = Records(
            self.engine, self.registry, Preparer(SubjectRing(self.engine, self.folder)), self.ids
        )
        self.tools = Tools(self.records, self.clock, self.ids, self._invoke)
        self.leases = self.leases_of(server)
        self.invoked: list[tuple[str, str, Any, str | None]] = []

    async def open(self) -> World:
        await self.engine.open()
        if await self.engine.schema_digest() is None:
            await self.engine.apply_steps(difference([], self.registry.all()), digest(self.registry.all()))
        self.feed = Feed(self.engine)
        self.signer = LedgerSigner(self.engine, self.folder, self.feed)
        return self

    async def close(self) -> None:
        self.feed.close()
        await self.engine.close()

    def leases_of(self, server: str, boot: str = "1", ttl_seconds: float = 15.0) -> Leases:
        return Leases(self.records, self.clock, Holder(server, boot), ttl_seconds=ttl_seconds)

    async def _invoke(
        self, name: str, tenant_id: str, request: Any, *, idempotency_key: str | None = None
    ) -> None:
        self.invoked.append((name, tenant_id, request, idempotency_key))

    # -- making entries ---------------------------------------------------------------------

    def context(self, tenant_id: str) -> Context:
        return system_context(tenant_id, self.ids.new("req"), self.clock.now_us())

    async def act(
        self,
        tenant_id: str,
        operation: str,
        handler: Callable[[Unit], Awaitable[T]],
        *,
        kind: Kind = Kind.RECORD,
        outcome: str | None = "done",
        details: bytes | None = b'{"args":{}}',
        context: Context | None = None,
    ) -> Result:
        def entrant(unit: Unit, value: T) -> Entrant:
            return Entrant(
                kind=kind,
                operation=operation,
                outcome=outcome,
                subject=tenant_id,
                resource=getattr(value, "id", None),
                details=details,
            )

        return await self.records.run(context or self.context(tenant_id), handler, entrant)

    async def tenant(self) -> str:
        """A new tenant: entry 0 of its log."""
        tenant_id = self.ids.new("tnt")

        async def make(unit: Unit) -> Owner:
            unit.create_subject(tenant_id)
            return unit.create(Owner(id=tenant_id, name="Acme"))

        await self.act(tenant_id, "tenants.create", make)
        return tenant_id

    async def note(self, tenant_id: str, title: str = "a", operation: str = "notes.create") -> Note:
        async def make(unit: Unit) -> Note:
            unit.increment(Tally(id=f"tal_{tenant_id}", tenant_id=tenant_id), notes=1, amount=Decimal("0.5"))
            return unit.create(
                Note(
                    id=unit.new_id(Note),
                    tenant_id=tenant_id,
                    title=title,
                    secret="s3cret",
                    amount=Decimal("0.5"),
                )
            )

        note: Note = (await self.act(tenant_id, operation, make)).value
        return note

    async def notes(self, tenant_id: str, count: int) -> list[Note]:
        return list(await asyncio.gather(*(self.note(tenant_id, f"note {n}") for n in range(count))))

    async def retitle(self, note: Note, title: str) -> Note:
        async def change(unit: Unit) -> Note:
            return await unit.update(await unit.get(Note, note.id), title=title)

        changed: Note = (await self.act(note.tenant_id, "notes.update", change)).value
        return changed

    async def remove(self, note: Note) -> None:
        async def drop(unit: Unit) -> None:
            await unit.delete(await unit.get(Note, note.id))

        await self.act(note.tenant_id, "notes.delete", drop)

    async def rows(self, cls: type[T], tenant_id: str) -> list[T]:
        async def read(unit: Unit) -> list[T]:
            return await unit.list(cls, limit=10_000)

        return await self.records.read(self.context(tenant_id), read)


@asynccontextmanager
async def world(path: Path, *entities: type[Any], clock: Any = None) -> AsyncIterator[World]:
    made = await World(path, *entities, clock=clock).open()
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait for a condition, bounded; the loop does its other work between two looks."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = condition()
        if not isinstance(found, bool):
            found = await found
        if found:
            return
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)
