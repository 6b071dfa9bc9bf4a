"""The parts of a server, wired for tests; a second `House` over the same folder is a restarted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.kernel.operations import notes
from thane.adapters.sqlite import SqliteEngine
from thane.kernel.clock import SystemClock
from thane.kernel.context import SYSTEM_TENANT, Principal, PrincipalKind, system_context
from thane.kernel.errors import Unauthorized
from thane.kernel.ids import IdFactory
from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.entities import ENTITIES, AccessRow
from thane.kernel.operations.pipeline import Pipeline, Ports
from thane.kernel.operations.reconciler import Reconciler
from thane.kernel.operations.registry import Operations
from thane.kernel.ports.identity import Identified
from thane.kernel.records.entity import schema_of
from thane.kernel.records.keys import SubjectKeyRow, SubjectRing
from thane.kernel.records.prepare import Preparer
from thane.kernel.records.schema import Registry
from thane.kernel.records.steps import difference, digest
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit
from thane.kernel.sealing.keyring import KeyFolder

TENANT = "tnt_00000000000070008000000000000001"
OWNER = Principal(
    kind=PrincipalKind.KEY, id="key_1", tenant_id=TENANT, user_id="usr_1", role="owner",
    permissions=frozenset({"*"}), actor_chain=("usr_1", "key_1"),
)  # fmt: skip
READER = Principal(
    kind=PrincipalKind.KEY, id="key_2", tenant_id=TENANT, user_id="usr_1", role="reader",
    permissions=frozenset({"notes.read", "deeds.*"}),
)  # fmt: skip
OTHER = "tnt_00000000000070008000000000000002"
STRANGER = Principal(
    kind=PrincipalKind.KEY,
    id="key_3",
    tenant_id=OTHER,
    user_id=None,
    role="owner",
    permissions=frozenset({"*"}),
)
KEYS = {"owner": OWNER, "reader": READER, "stranger": STRANGER}


class TestClock(SystemClock):
    """The machine's clock, moved on by hand."""

    __test__ = False

    def __init__(self) -> None:
        self.ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


class KnownKeys:
    """Three bearer tokens."""

    async def identify(self, bearer: str) -> Identified:
        principal = KEYS.get(bearer)
        if principal is None:
            raise Unauthorized("no such key")
        return Identified(principal=principal)

    async def local_owner(self) -> Identified:
        return Identified(principal=OWNER)


class House:
    """See the module."""

    engine: SqliteEngine
    records: Records
    operations: Operations
    pipeline: Pipeline
    reconciler: Reconciler
    clock: TestClock
    world: notes.World
    service: notes.Notes
    folder: Path

    @classmethod
    async def build(
        cls,
        folder: Path,
        *,
        world: notes.World | None = None,
        server_id: str = "srv_1",
        lease_us: int = 60_000_000,
        dead: frozenset[str] = frozenset(),
        clock: TestClock | None = None,
        **ports: Any,
    ) -> House:
        self = cls()
        self.folder = folder
        self.world = world or notes.World()
        self.service = notes.Notes()
        self.clock = clock or TestClock()
        ids = IdFactory(self.clock)
        registry = Registry()
        for entity in (*ENTITIES, SubjectKeyRow, notes.Note, notes.Deed, notes.DeedLine):
            registry.add(schema_of(entity))
        self.engine = SqliteEngine(folder / "thane.db", registry, self.clock)
        await self.engine.open()
        new = await self.engine.schema_digest() is None
        if new:
            await self.engine.apply_steps(difference((), registry.all()), digest(registry.all()))
        keys = KeyFolder.open_or_create(folder / "keys", ledger_name="test.example/thane")
        preparer = Preparer(SubjectRing(self.engine, keys))
        self.records = Records(self.engine, registry, preparer, ids)
        if new:
            await self._subjects()
        self.operations = Operations()
        self.operations.bind(self.service, *notes.NOTE_OPERATIONS)
        self.operations.bind(self.world, *notes.DEED_OPERATIONS)
        self.operations.check()
        self.pipeline = Pipeline(
            self.records, self.operations, Ports(identity=KnownKeys(), **ports),
            clock=self.clock, ids=ids, spool=folder / "spool", server_id=server_id, lease_us=lease_us,
        )  # fmt: skip
        self.reconciler = Reconciler(
            self.records,
            self.operations,
            self.pipeline.settler,
            self.clock,
            ids,
            server_id,
            is_dead=lambda server: server in dead,
            lease_us=lease_us,
        )
        return self

    async def _subjects(self) -> None:
        for tenant, subjects in (
            (SYSTEM_TENANT, (SYSTEM_TENANT,)),
            (TENANT, (TENANT, "usr_1")),
            (OTHER, (OTHER,)),
        ):
            context = system_context(tenant, "req_0", self.clock.now_us())

            async def make(unit: Unit, subjects: tuple[str, ...] = subjects) -> None:
                for subject in subjects:
                    unit.create_subject(subject)

            await self.records.housekeep(context, make)

    async def close(self) -> None:
        await self.pipeline.close(1.0)
        await self.engine.close()

    # -- asking -----------------------------------------------------------------------------

    def make(self, name: str, body: Any = None, *, bearer: str | None = "owner", **more: Any) -> Call:
        bound = self.operations.get(name)
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        return Call(operation=bound, request_id=self.records.ids.new("req"), body=data, bearer=bearer, **more)

    async def ask(self, name: str, body: Any = None, **more: Any) -> Reply:
        return await self.pipeline.call(self.make(name, body, **more))

    async def ask_json(self, name: str, body: Any = None, **more: Any) -> Any:
        return msgspec.json.decode((await self.ask(name, body, **more)).body)

    # -- looking ----------------------------------------------------------------------------

    async def access(self) -> list[AccessRow]:
        self.pipeline.access.flush()
        # Riders go along with the next commit.
        await self.records.housekeep(system_context(TENANT, "req_0", 0), self._touch)
        return sorted(await self.records.across(AccessRow), key=lambda r: r.id)

    async def _touch(self, unit: Unit) -> None:
        unit.create(
            notes.DeedLine(id=unit.new_id(notes.DeedLine), tenant_id=TENANT, deed_id="touch", text="")
        )

    async def entries(self, tenant: str = TENANT) -> list[dict[str, Any]]:
        rows = await self.engine.entries(tenant, 0, 500)
        return [msgspec.json.decode(r.leaf) for r in rows]
