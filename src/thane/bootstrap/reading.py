"""The store, read beside its owner: timeline, proofs, verification. Never writes, never locks.

A key folder is read too, because the bodies of rows are sealed; nothing is ever signed
here, so what is proven is what the owner has signed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from thane.adapters.disk import DataFolder
from thane.adapters.processes import processes
from thane.adapters.sqlite import SqliteEngine
from thane.bootstrap.schemas import CHECKS, registry
from thane.bootstrap.values import access_kept_since
from thane.domains.accounts import local_tenant
from thane.domains.audit import AuditService
from thane.domains.audit import module as audit_module
from thane.kernel.clock import SystemClock
from thane.kernel.errors import NotFound, Unavailable
from thane.kernel.feed import Feed
from thane.kernel.ids import IdFactory
from thane.kernel.jobs.signer import STATE_FILE
from thane.kernel.ledger.leaf import Leaf
from thane.kernel.ledger.note import Signer
from thane.kernel.records import Records, Registry
from thane.kernel.records.engine import Engine, Signed
from thane.kernel.records.keys import SubjectRing
from thane.kernel.records.prepare import Preparer
from thane.kernel.sealing.keyring import KeyFolder
from thane.kernel.settings_schema import Settings
from thane.maintenance.helpers import Help
from thane.maintenance.prove import prove
from thane.maintenance.verify import Hook, Report, verify

PAGE = 500
# The owner signs at least once a second while it runs, and when it ends.
SIGNED_WITHIN_SECONDS = 5.0


class NeverSigns:
    """A signer for who only reads: it knows the log's public key and signs nothing."""

    def __init__(self, vkey: str) -> None:
        self.vkey = vkey

    async def sign_now(self) -> list[Signed]:
        raise Unavailable("the owner of the data folder signs, a reader does not", retry_after=1)


class StoreReader:
    """Implements the command line's `Ledger`."""

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._registry = registry()
        self._engine = SqliteEngine(folder.store, self._registry, SystemClock(), readonly=True)
        self._keys = KeyFolder(folder.keys)
        self._records = Records(
            self._engine, self._registry, Preparer(SubjectRing(self._engine, self._keys)), IdFactory()
        )

    async def open(self) -> None:
        await self._engine.open()
        self.tenant_id = await local_tenant(self._records)

    async def close(self) -> None:
        await self._engine.close()

    async def timeline(self, run_id: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest entries, oldest first; of one run only if it is given."""
        rows = await self._newest(run_id, limit, await self._engine.log_size(self.tenant_id))
        if run_id is not None and not rows:
            raise NotFound(f"nothing happened in a run {run_id}", hint="`thane timeline` shows everything.")
        return rows

    async def follow(self, run_id: str | None, limit: int) -> AsyncIterator[dict[str, Any]]:
        """What `timeline` shows, then each entry as it comes, for ever. The store is polled: the owner is
        another process, whose bell does not ring here."""
        size = await self._engine.log_size(self.tenant_id)
        for row in await self._newest(run_id, limit, size):
            yield row
        feed = Feed(self._engine)
        try:
            async for entry in feed.watch(self.tenant_id, size):
                if _belongs(entry.leaf, run_id):
                    yield _row(entry.index, entry.leaf)
        finally:
            feed.close()

    async def _newest(self, run_id: str | None, limit: int, end: int) -> list[dict[str, Any]]:
        """The newest of the first `end` entries, oldest first."""
        rows: list[dict[str, Any]] = []
        while end > 0 and len(rows) < limit:
            start = max(0, end - PAGE)
            for entry in reversed(await self._engine.entries(self.tenant_id, start, end - start)):
                leaf = msgspec.json.decode(entry.leaf, type=Leaf)
                if _belongs(leaf, run_id) and len(rows) < limit:
                    rows.append(_row(entry.index, leaf))
            end = start
        return rows[::-1]

    @property
    def vkey(self) -> str:
        """The public key of the log, as verifiers take it."""
        return self._signer().verifier.vkey

    def _signer(self) -> Signer:
        return Signer(self._keys.ledger_name, self._keys.ledger_seed)

    async def prove(self, index: int) -> str:
        """The proof of an entry under the newest checkpoint; one that is not signed yet is waited for."""
        deadline = time.monotonic() + SIGNED_WITHIN_SECONDS
        while True:
            try:
                return await prove(self._engine, None, self.tenant_id, index)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def verify(self, progress: Callable[[int, int], None]) -> Report:
        """Check the whole store, up to the checkpoint that the signer keeps outside it."""
        kept = self._folder.keys / STATE_FILE
        notes = (kept.read_text(),) if kept.exists() else ()
        kept_since = access_kept_since(self._settings, SystemClock())
        audit = AuditService(self._records, NeverSigns(self.vkey), kept_since_us=kept_since)
        hooks: list[Hook] = [*CHECKS, *audit_module.checks(audit)]
        help = Help(partial(open_beside, self._folder.store), processes)
        return await verify(self._records, self._signer().verifier, hooks, progress, kept=notes, help=help)


async def open_beside(store: Path) -> tuple[Engine, Registry]:
    """The store once more, for a process that helps to verify it."""
    made = registry()
    engine = SqliteEngine(store, made, SystemClock(), readonly=True)
    await engine.open()
    return engine, made


def _belongs(leaf: Leaf, run_id: str | None) -> bool:
    """Whether an entry is of a run, or about it; every entry is where none is named."""
    return run_id in (None, leaf.run, leaf.resource)


def _row(index: int, leaf: Leaf) -> dict[str, Any]:
    at = datetime.fromtimestamp(leaf.time / 1_000_000, UTC)
    return {
        "index": index,
        "time": at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "kind": leaf.kind.value,
        "operation": leaf.operation,
        "outcome": leaf.outcome,
        "resource": leaf.resource,
        "run": leaf.run,
        "actor": leaf.actor[-1],
        "intent": leaf.intent,
    }
