"""A whole Thane in one process: made from settings and a data folder, started, stopped.

Nothing below imports this module; hosts are given what it makes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path

from thane import __version__
from thane.adapters.disk import DataFolder
from thane.adapters.isolation import IsolationClient
from thane.adapters.sqlite import SqliteEngine
from thane.bootstrap.edge import make_app
from thane.bootstrap.monitoring import health
from thane.bootstrap.owner import LocalOwner
from thane.bootstrap.place import open_keys
from thane.bootstrap.running import Running
from thane.bootstrap.schemas import registry
from thane.bootstrap.upkeep import upkeep
from thane.bootstrap.values import (
    HOUR_US,
    Meters,
    access_kept_since,
    identity_cache,
    prices,
    signer_jobs,
)
from thane.domains.accounts import AccountsService
from thane.domains.accounts import module as accounts_module
from thane.domains.audit import AuditService
from thane.domains.audit import module as audit_module
from thane.domains.billing import BillingService
from thane.domains.billing import module as billing_module
from thane.domains.live import LiveService
from thane.domains.live import module as live_module
from thane.domains.projects import ProjectsService
from thane.domains.projects import module as projects_module
from thane.domains.runs import RunsService
from thane.domains.runs import module as runs_module
from thane.domains.sandboxes import host_bounds
from thane.domains.system import Server, SystemService
from thane.domains.system import module as system_module
from thane.kernel.clock import Clock, SystemClock, from_us
from thane.kernel.feed import Feed
from thane.kernel.ids import IdFactory
from thane.kernel.jobs import Holder, JobRunner, Leases, LedgerSigner, Periodic, Tools
from thane.kernel.live.hub import Hub
from thane.kernel.module import Module
from thane.kernel.operations.pipeline import Pipeline, Ports
from thane.kernel.operations.reconciler import Reconciler
from thane.kernel.operations.registry import Operations
from thane.kernel.ports.isolation import TierReport
from thane.kernel.ports.rules import AllOf
from thane.kernel.records import Records
from thane.kernel.records.engine import Engine
from thane.kernel.records.keys import SubjectRing
from thane.kernel.records.prepare import Preparer
from thane.kernel.sealing.keyring import KeyFolder
from thane.kernel.settings_schema import Settings
from thane.kernel.telemetry import Telemetry
from thane.maintenance.migrate import migrate

log = logging.getLogger(__name__)

RECONCILE_SECONDS = 2.0


class System:
    """One process's Thane over one data folder. `start` before use, `stop` after it."""

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        *,
        role: str,
        clock: Clock | None = None,
        vfs: str | None = None,
    ) -> None:
        """`vfs` names what the embedded store reads and writes its files through; for tests."""
        self.settings = settings
        self.folder = folder
        self.clock = clock or SystemClock()
        self.ids = IdFactory(self.clock)
        self.telemetry = Telemetry()
        self._meters = Meters(self.telemetry)
        self.registry = registry()
        self.server_id = self.ids.new("srv")
        self._role = role
        self._vfs = vfs
        self.is_new = False

    # -- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open, and begin the jobs."""
        await self.open()
        await self.jobs.start()

    async def open(self) -> None:
        """Lock the folder, open the store, make what a first use needs. Nothing runs by itself yet."""
        self.folder.make()
        self.folder.lock()
        async with AsyncExitStack() as undo:
            undo.callback(self.folder.unlock)
            await self._open_store()
            undo.push_async_callback(self.engine.close)
            self._wire()
            undo.push_async_callback(self.isolation.close)
            # Before anything is written, steps of the schema too: a store that is behind is left as it is.
            await self.signer.check_store_against_state()
            await migrate(self.engine, self.registry, auto=self.settings.database.auto_migrate)
            self.is_new = await self.owner.first_use()
            await self.system.register()
            # What a dead predecessor left open is closed before anything new begins.
            await self.reconciler.tick()
            undo.pop_all()

    async def stop(self) -> None:
        """Finish what was begun, sign, leave the folder to others; each also if one before it fails."""
        async with AsyncExitStack() as steps:  # which goes from the last to the first
            steps.callback(self.folder.unlock)
            steps.push_async_callback(self.engine.close)
            steps.push_async_callback(self.system.leave)
            steps.callback(self.feed.close)
            steps.push_async_callback(self.signer.close)
            steps.push_async_callback(self.jobs.stop)
            steps.push_async_callback(self.isolation.close)
            steps.push_async_callback(self.pipeline.close, self.settings.http.drain_timeout_secs)

    async def _open_store(self) -> None:
        self.keys = open_keys(self.folder, self.settings, self._ledger_name())
        self.engine: Engine = SqliteEngine(
            self.folder.store,
            self.registry,
            self.clock,
            durability=self.settings.database.durability,
            observe=self._meters.query,
            vfs=self._vfs,
        )
        await self.engine.open()
        preparer = Preparer(SubjectRing(self.engine, self.keys))
        self.records = Records(self.engine, self.registry, preparer, self.ids)

    def _ledger_name(self) -> str:
        """The log's name, for ever: from the settings, else one that no other folder has."""
        return self.settings.ledger.origin or f"thane.local/{self.ids.new('log')[4:]}"

    # -- wiring -----------------------------------------------------------------------------

    def _wire(self) -> None:
        """Services, then the pipeline over them, then what runs beside it."""
        self._wire_services()
        self._wire_pipeline()

    def _wire_services(self) -> None:
        meters = self._meters
        self.projects = ProjectsService()
        most, seconds = identity_cache(self.settings)
        self.accounts = AccountsService(
            self.records, self.clock, (self.projects,), meters, cache_most=most, cache_seconds=seconds
        )
        self.billing = BillingService(prices(self.settings))
        self.runs = RunsService()
        self.system = SystemService(self.records, self.clock, self._server())
        self.isolation = self._isolation()
        running = Running(
            self.settings,
            isolation=self.isolation,
            billing=self.billing,
            telemetry=self.telemetry,
            artifacts=self.folder.artifacts,
            slots=self._slots(),
            clock=self.clock,
        )
        self.sandboxes, self.executions, self.running = running.sandboxes, running.executions, running
        self.feed = Feed(self.engine)
        self.signer = LedgerSigner(self.engine, self.keys, self.feed)
        kept_since = access_kept_since(self.settings, self.clock)
        self.audit = AuditService(self.records, self.signer, kept_since_us=kept_since)
        self.live = LiveService(self.records, Hub(self.feed), lambda: self.operations, lambda: self.modules)
        self.modules: tuple[Module, ...] = (
            system_module.module(self.system),
            accounts_module.module(self.accounts),
            projects_module.module(self.projects),
            billing_module.module(self.billing),
            runs_module.module(self.runs),
            running.module(),
            audit_module.module(self.audit),
            live_module.module(self.live),
        )

    def _wire_pipeline(self) -> None:
        self.operations = Operations()
        for module in self.modules:
            module.bind(self.operations)
        self.operations.check()
        self.pipeline = Pipeline(
            self.records,
            self.operations,
            Ports(identity=self.accounts, observer=self._meters, rules=AllOf(self.projects, self.runs)),
            clock=self.clock,
            ids=self.ids,
            spool=self.folder.spool,
            server_id=self.server_id,
            idempotency_us=self.settings.retention.idempotency_hours * HOUR_US,
        )
        self.running.tell(self.pipeline.as_system)
        self.owner = LocalOwner(self.folder, self.accounts, self.operations, self.pipeline, self.ids)
        self.reconciler = Reconciler(
            self.records,
            self.operations,
            self.pipeline.settler,
            self.clock,
            self.ids,
            self.server_id,
            # One process owns the folder, so whoever else is named in an intent is gone.
            is_dead=lambda server_id: server_id != self.server_id,
        )
        self.jobs = self._jobs()
        parts = health(self.engine, self.isolation)
        self.app = make_app(self.pipeline, self.settings, self.telemetry, parts)

    def _jobs(self) -> JobRunner:
        """Everything that happens beside requests."""
        tools = Tools(self.records, self.clock, self.ids, self.pipeline.as_system)
        leases = Leases(self.records, self.clock, Holder(server=self._server_name(), boot=self.server_id))
        parts = self.modules
        return JobRunner(
            tools,
            self.feed,
            leases,
            subscriptions=[s for m in parts for s in m.subscriptions],
            projections=[p for m in parts for p in m.projections],
            periodic=[
                *signer_jobs(self.signer, self.settings),
                Periodic(name="heartbeat", seconds=5, run=lambda tools: self.system.beat(), everywhere=True),
                Periodic(
                    name="key-uses", seconds=10, run=lambda tools: self.accounts.write_uses(), everywhere=True
                ),
                Periodic(
                    name="reconciler", seconds=RECONCILE_SECONDS, run=lambda tools: self.reconciler.tick()
                ),
                Periodic(name="artifacts", seconds=600, run=self._sweep_artifacts, everywhere=True),
                *(p for m in parts for p in m.periodic),
            ],
            schedules=[
                *upkeep(parts, self.settings, self.telemetry),
                *(s for m in parts for s in m.schedules),
            ],
        )

    async def _sweep_artifacts(self, tools: Tools) -> None:
        await asyncio.to_thread(self.executions.artifacts.sweep)

    def _slots(self) -> int:
        return self.settings.isolation.slots or host_bounds()[1]

    def _isolation(self) -> IsolationClient:
        configured = self.settings.isolation.socket
        path = Path(configured) if configured else self.folder.isolation_socket
        return IsolationClient(path, self.folder.isolation_log, self._slots(), self._server_name())

    def _server_name(self) -> str:
        """The same for every process that owns this folder, one after the other."""
        return f"{socket.gethostname()}-{sha256(str(self.folder.path).encode()).hexdigest()[:12]}"

    def _server(self) -> Server:
        now = from_us(self.clock.now_us())
        return Server(
            id=self.server_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            role=self._role,
            release=__version__,
            started_at=now,
            last_seen_at=now,
        )

    # -- what hosts ask ---------------------------------------------------------------------

    @classmethod
    def unopened(cls, settings: Settings, folder: DataFolder) -> System:
        """Wired, but with no store behind it: for looking at the registry."""
        made = cls(settings, folder, role="registry")
        made.keys = KeyFolder.create(folder.keys, ledger_name="registry")
        made.engine = SqliteEngine(folder.store, made.registry, made.clock)
        made.records = Records(
            made.engine, made.registry, Preparer(SubjectRing(made.engine, made.keys)), made.ids
        )
        made._wire()
        return made

    @classmethod
    async def probe(cls, settings: Settings, folder: DataFolder) -> tuple[TierReport, ...]:
        """The isolation ladder of this machine."""
        folder.make()
        client = cls(settings, folder, role="doctor")._isolation()
        try:
            return await client.ladder()
        finally:
            await client.close()

    async def best_tier(self) -> str:
        """The strongest tier that works here for jobs that demand none, with what it is."""
        works = [r for r in await self.isolation.ladder(on_demand=False) if r.available]
        await self.system.show_tiers([r.tier.value for r in works])
        if not works:
            return "none: run `thane doctor`"
        best = max(works, key=lambda r: r.tier.rank)
        return f"{best.tier.value} ({best.detail})"
