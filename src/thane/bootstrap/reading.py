"""The store, read beside its owner: timeline, proofs, verification. Never writes, never locks.

A key folder is read too, because the bodies of rows are sealed; nothing is ever signed
here, so what is proven is what the owner has signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from thane.adapters.disk import DataFolder
from thane.adapters.sqlite import SqliteEngine
from thane.bootstrap.system import registry
from thane.domains.accounts import local_tenant
from thane.kernel.clock import SystemClock
from thane.kernel.errors import NotFound
from thane.kernel.ids import IdFactory
from thane.kernel.ledger.leaf import Leaf
from thane.kernel.records import Records
from thane.kernel.records.keys import SubjectRing
from thane.kernel.records.prepare import Preparer
from thane.kernel.sealing.keyring import KeyFolder
from thane.kernel.settings_schema import Settings

PAGE = 500


class StoreReader:
    """Implements the command line's `Ledger`."""

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._registry = registry()
        self._engine = SqliteEngine(folder.store, self._registry, SystemClock(), readonly=True)
        self._keys = KeyFolder(folder.keys)
        self._records = Records(self._engine, self._registry, Preparer(SubjectRing(self._engine, self._keys)), IdFactory())

    async def open(self) -> None:
        await self._engine.open()
        self._tenant_id = await local_tenant(self._records)

    async def close(self) -> None:
        await self._engine.close()

    async def timeline(self, run_id: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest entries, oldest first; of one run only if it is given."""
        rows: list[dict[str, Any]] = []
        end = await self._engine.log_size(self._tenant_id)
        while end > 0 and len(rows) < limit:
            start = max(0, end - PAGE)
            for entry in reversed(await self._engine.entries(self._tenant_id, start, end - start)):
                leaf = msgspec.json.decode(entry.leaf, type=Leaf)
                if run_id in (None, leaf.run, leaf.resource) and len(rows) < limit:
                    rows.append(_row(entry.index, leaf))
            end = start
        if run_id is not None and not rows:
            raise NotFound(f"nothing happened in a run {run_id}", hint="`thane timeline` shows everything.")
        return rows[::-1]


def _row(index: int, leaf: Leaf) -> dict[str, Any]:
    time = datetime.fromtimestamp(leaf.time / 1_000_000, UTC)
    return {
        "index": index,
        "time": time.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "kind": leaf.kind.value,
        "operation": leaf.operation,
        "outcome": leaf.outcome,
        "resource": leaf.resource,
        "run": leaf.run,
        "actor": leaf.actor[-1],
        "intent": leaf.intent,
    }
