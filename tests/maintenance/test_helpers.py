"""A large store is verified by several processes, which find what one finds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

import pytest

from benchmarks.million import make
from thane.adapters.processes import processes
from thane.bootstrap.place import data_folder
from thane.bootstrap.reading import StoreReader
from thane.kernel.settings import load
from thane.maintenance import helpers, quick, verify
from thane.maintenance.findings import Report

EXECUTIONS = 600


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    await make(tmp_path / "data", EXECUTIONS)
    monkeypatch.setattr(verify, "WORTH_HELP", 0)
    return tmp_path / "data"


async def verified(folder: Path) -> Report:
    settings = load(None, {}, {}).settings
    reader = StoreReader(settings, data_folder(folder, settings))
    await reader.open()
    try:
        return await reader.verify(lambda done, total: None)
    finally:
        await reader.close()


async def test_processes_verify_a_store_and_name_what_was_touched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def counted(count: int, begin: Callable[..., None], arguments: tuple[Any, ...]) -> Executor:
        started.append(count)
        return processes(count, begin, arguments)

    monkeypatch.setattr("thane.bootstrap.reading.processes", counted)
    report = await verified(folder)
    assert report.ok, report.text()
    assert report.entries > 2 * EXECUTIONS
    assert 1 <= started[0] <= helpers.MOST
    with sqlite3.connect(folder / "store.db") as store:
        store.execute("UPDATE billing_events SET amount = replace(amount, '1', '2') WHERE _entry > 700")
        store.execute("UPDATE thane_entries SET details = zeroblob(40) WHERE id = (2 << 40) + 900")
    store.close()
    touched = await verified(folder)
    assert {p.kind for p in touched.problems} >= {"row", "details", "counter"}
    assert [p.index for p in touched.problems if p.kind == "details"] == [900]


async def test_a_sound_store_needs_no_second_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the quick way would be no quicker: what it does not confirm is looked at one by one."""
    monkeypatch.setattr(verify, "WORTH_HELP", 10**9)
    slow: list[str] = []
    monkeypatch.setattr(
        "thane.maintenance.verify_rows.RowPass._row", lambda self, schema, stored: slow.append(schema.table)
    )
    monkeypatch.setattr(
        "thane.maintenance.verify_trees.TreePass._contents", lambda *args: slow.append("entry")
    )
    assert (await verified(folder)).ok
    assert slow == []


class Dies(Executor):
    """As a pool whose process was killed."""

    def submit(self, *args: Any, **options: Any) -> Future[Any]:
        raise BrokenExecutor


async def test_without_its_helpers_the_verification_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thane.bootstrap.reading.processes", lambda *args: Dies())
    assert (await verified(folder)).ok


def test_ranges_leave_no_id_out() -> None:
    ids = [f"x_{n:03}" for n in range(25)]
    found = quick.ranges(ids, 10)
    assert found == [("", "x_009"), ("x_009", "x_019"), ("x_019", None)]
    assert quick.ranges([], 10) == [("", None)]
