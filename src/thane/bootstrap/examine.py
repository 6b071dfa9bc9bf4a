"""`thane doctor`: all that a machine, its settings and a data folder must have, looked at without harm.

Each part is looked at also where another one is broken. Nothing is made or changed; what is written to
measure the disk has no name and is gone when it is closed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from thane.adapters import machine
from thane.adapters.disk import DataFolder
from thane.adapters.sqlite import SqliteEngine
from thane.bootstrap.edge import LEAST_CONNECTIONS, OTHER_FILES
from thane.bootstrap.place import data_folder, refuse_impossible
from thane.bootstrap.schemas import registry
from thane.domains.sandboxes import host_bounds
from thane.kernel.clock import SystemClock
from thane.kernel.errors import SettingsError, ThaneError
from thane.kernel.ports.isolation import Tier, TierReport
from thane.kernel.ports.machine import Examination, Finding, Grade
from thane.kernel.records.steps import digest
from thane.kernel.settings import Loaded, find_config, load
from thane.kernel.settings_effect import idle

LONG_WAL_BYTES: Final = 64 << 20
EXPLAIN: Final = "thane config check"
Ladder = Callable[[Path, Loaded], Awaitable[tuple[TierReport, ...]]]


async def examine(data: Path, config: str | None, ladder: Ladder) -> Examination:
    """Look at all of it. `ladder` probes what this machine has to isolate with."""
    loaded, findings = _settings(config)
    try:
        folder = data_folder(data, loaded.settings)
    except SettingsError as fault:
        findings.append(_finding("settings", "database.url", Grade.FAILURE, fault.message, fault.hint))
        folder = DataFolder(data)
    place = next(p for p in (folder.path, *folder.path.parents) if p.is_dir())
    tiers, isolated = await _isolation(data, loaded, ladder)
    slots = loaded.settings.isolation.slots or host_bounds()[1]
    http = loaded.settings.http
    owner = _owner(folder)
    open_files = (http.max_connections + OTHER_FILES, LEAST_CONNECTIONS + OTHER_FILES)
    findings += [
        *isolated,
        *await _engine(folder),
        *await asyncio.to_thread(machine.folder, folder),
        *await asyncio.to_thread(machine.disk, place),
        *await asyncio.to_thread(machine.clock, place, (folder.store, folder.keys / "signer-state")),
        *machine.limits(slots, loaded.settings.isolation.memory_mb, open_files),
        await asyncio.to_thread(machine.port, http.host, http.port, owner),
        *machine.versions(),
    ]
    return Examination(data=str(folder.path), isolation=tiers, findings=tuple(findings))


def _settings(config: str | None) -> tuple[Loaded, list[Finding]]:
    """The settings, or where they are wrong the built-in ones, with what is wrong."""
    try:
        loaded = load(find_config(config, os.environ), os.environ)
        refuse_impossible(loaded.settings)
    except SettingsError as fault:
        wrong = [f.detail for f in fault.faults] or [fault.message]
        made = [_finding("settings", "values", Grade.FAILURE, detail, EXPLAIN) for detail in wrong]
        return load(None, {}), made
    useless = idle(loaded.settings)
    if not useless:
        return loaded, [_finding("settings", "values", Grade.OK, "all known, and all have an effect")]
    return loaded, [_finding("settings", one.key, Grade.WARNING, str(one), EXPLAIN) for one in useless]


async def _isolation(
    data: Path, loaded: Loaded, ladder: Ladder
) -> tuple[tuple[TierReport, ...], list[Finding]]:
    wanted = Tier(loaded.settings.isolation.minimum_tier)
    try:
        tiers = await ladder(data, loaded)
    except ThaneError as fault:
        return (), [_finding("isolation", "program", Grade.FAILURE, fault.message, fault.hint)]
    works = [report for report in tiers if report.available and report.tier.rank >= wanted.rank]
    if works:
        best = max(works, key=lambda report: report.tier.rank)
        return tiers, [_finding("isolation", "tier", Grade.OK, f"{best.tier.value}: {best.detail}")]
    detail = f"code cannot be run: `isolation.minimum_tier` is {wanted.value} and nothing that strong works"
    remedies = [r.remedy for r in tiers if r.tier.rank >= wanted.rank and r.remedy]
    remedy = remedies[-1] if remedies else "export THANE_ISOLATION_MINIMUM_TIER=T1"
    return tiers, [_finding("isolation", "tier", Grade.FAILURE, detail, remedy)]


async def _engine(folder: DataFolder) -> list[Finding]:
    """The store, if there is one: can it be opened, is its schema this program's, is its log short."""
    try:
        if not folder.exists:
            return [_finding("engine", "store", Grade.OK, "SQLite; the store is made at the first use")]
        schemas = registry()
        engine = SqliteEngine(folder.store, schemas, SystemClock(), readonly=True)
        await engine.open()
        try:
            found = await engine.schema_digest()
        finally:
            await engine.close()
    except ThaneError as fault:
        return [_finding("engine", "store", Grade.FAILURE, fault.message, fault.hint)]
    return [schema(found, digest(schemas.all())), wal(folder.store.with_name(f"{folder.store.name}-wal"))]


def schema(found: str | None, wanted: str) -> Finding:
    """Whether the store's schema is the one that this program has."""
    if found == wanted:
        detail = f"SQLite; its schema is this program's ({wanted[:12]})"
        return _finding("engine", "store", Grade.OK, detail)
    if found is None:
        detail = "SQLite; it is empty, and filled at the next start"
        return _finding("engine", "store", Grade.NOTE, detail)
    detail = f"its schema ({found[:12]}) is not this program's ({wanted[:12]})"
    remedy = "git checkout the version that made this store, or choose another folder with --data"
    return _finding("engine", "store", Grade.FAILURE, detail, remedy)


def wal(log: Path) -> Finding:
    """Whether the write-ahead log is copied back as it should."""
    size = log.stat().st_size if log.exists() else 0
    if size > LONG_WAL_BYTES:
        detail = f"{size >> 20} MiB: something reads the store for so long that its log cannot be copied back"
        return _finding(
            "engine", "write-ahead log", Grade.WARNING, detail, "stop the server, then thane serve"
        )
    return _finding("engine", "write-ahead log", Grade.OK, f"{size >> 10} KiB")


def _owner(folder: DataFolder) -> int | None:
    owner = folder.owner()
    return None if owner is None else owner.pid


def _finding(area: str, check: str, grade: Grade, detail: str, remedy: str = "") -> Finding:
    return Finding(area=area, check=check, grade=grade, detail=detail, remedy=remedy)
