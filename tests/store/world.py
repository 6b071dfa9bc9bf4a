"""A store with two tenants in it, and the few words that tests are written in."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.store.engines import EngineUnderTest
from tests.store.entities import Box, Tenant, User, registry
from thane.kernel.context import Context, system_context
from thane.kernel.ids import IdFactory
from thane.kernel.records import Engine, Entrant, Records, Registry, Result, Unit
from thane.kernel.records.engine import EntryRow
from thane.kernel.records.keys import SubjectRing
from thane.kernel.records.prepare import Preparer
from thane.kernel.records.steps import difference, digest
from thane.kernel.sealing.keyring import KeyFolder

T = TypeVar("T")
Handler = Callable[[Unit], Awaitable[T]]


class SetClock:
    """The machine's clock, until it is set."""

    def __init__(self) -> None:
        self.fixed: int | None = None

    def now_us(self) -> int:
        return time.time_ns() // 1000 if self.fixed is None else self.fixed


class World:
    """Tenants `a` and `b`, each with a user and a data key."""

    engine: Engine
    records: Records

    def __init__(self, under: EngineUnderTest, clock: SetClock, keys: KeyFolder) -> None:
        self.under = under
        self.clock = clock
        self.keys = keys
        self.ids = IdFactory(clock)
        self.registry: Registry = registry()
        self.a, self.b = self.ids.new("tnt"), self.ids.new("tnt")
        self.users: dict[str, User] = {}

    async def open(self) -> None:
        self._use(await self.under.open(self.registry))

    async def reopen(self) -> None:
        self._use(await self.under.reopen(self.engine, self.registry))

    def _use(self, engine: Engine) -> None:
        self.engine = engine
        preparer = Preparer(SubjectRing(engine, self.keys))
        self.records = Records(engine, self.registry, preparer, self.ids)

    async def found(self) -> None:
        """Make the tables and the tenants."""
        schemas = self.registry.all()
        await self.engine.apply_steps(difference((), schemas), digest(schemas))
        for tenant_id in (self.a, self.b):
            await self.begin(tenant_id)

    async def begin(self, tenant_id: str) -> Result:
        """A new tenant: entry 0 of its tree."""

        async def make(unit: Unit) -> User:
            unit.create_subject(tenant_id)
            unit.create(Tenant(id=tenant_id, name="a tenant"))
            return unit.create(
                User(
                    id=unit.new_id(User), tenant_id=tenant_id, email=f"{tenant_id}@example.com", name="owner"
                )
            )

        result = await self.run(make, tenant_id, operation="tenants.create")
        self.users[tenant_id] = result.value
        return result

    # -- units ------------------------------------------------------------------------------

    def context(self, tenant_id: str | None = None) -> Context:
        return system_context(tenant_id or self.a, self.ids.new("req"), self.clock.now_us())

    def entrant(self, tenant_id: str | None = None, operation: str = "tests.change", **more: Any) -> Entrant:
        about: dict[str, Any] = {"kind": "record", "outcome": "ok", "details": b'{"why":"test"}'}
        return Entrant(operation=operation, subject=tenant_id or self.a, **(about | more))

    async def run(
        self,
        handler: Handler[Any],
        tenant_id: str | None = None,
        operation: str = "tests.change",
        **more: Any,
    ) -> Result:
        entrant = self.entrant(tenant_id, operation, **more)
        return await self.records.run(self.context(tenant_id), handler, lambda unit, value: entrant)

    async def read(self, handler: Handler[T], tenant_id: str | None = None) -> T:
        return await self.records.read(self.context(tenant_id), handler)

    async def housekeep(self, handler: Handler[T], tenant_id: str | None = None) -> T:
        return await self.records.housekeep(self.context(tenant_id), handler)

    # -- rows -------------------------------------------------------------------------------

    def box(self, tenant_id: str | None = None, **values: Any) -> Box:
        """A box that is not stored yet, with a name of its own."""
        tenant_id = tenant_id or self.a
        id = self.ids.new("box")
        given: dict[str, Any] = {"name": id, "user_id": self.users[tenant_id].id}
        return Box(id=id, tenant_id=tenant_id, **(given | values))

    async def boxed(self, tenant_id: str | None = None, **values: Any) -> Box:
        """A stored box."""
        box = self.box(tenant_id, **values)

        async def make(unit: Unit) -> Box:
            return unit.create(box)

        made: Box = (await self.run(make, tenant_id)).value
        return made

    async def fill(self, boxes: list[Box], tenant_id: str | None = None) -> list[Box]:
        """Store them all in one unit."""

        async def make(unit: Unit) -> list[Box]:
            return unit.create_many(boxes)

        made: list[Box] = (await self.run(make, tenant_id)).value
        return made

    async def get(self, box: Box) -> Box:
        async def look(unit: Unit) -> Box:
            return await unit.get(Box, box.id)

        return await self.read(look, box.tenant_id)

    async def change(self, box: Box, **values: Any) -> Box:
        """Change a stored box in a unit of its own."""

        async def update(unit: Unit) -> Box:
            return await unit.update(await unit.get(Box, box.id), **values)

        made: Box = (await self.run(update, box.tenant_id)).value
        return made

    async def remove(self, box: Box) -> Result:
        async def delete(unit: Unit) -> None:
            await unit.delete(await unit.get(Box, box.id))

        return await self.run(delete, box.tenant_id)

    async def entries(self, tenant_id: str | None = None) -> list[EntryRow]:
        return await self.engine.entries(tenant_id or self.a, 0, 100_000)


def make_keys(path: Path) -> KeyFolder:
    return KeyFolder.create(path, ledger_name="thane.test/log")
