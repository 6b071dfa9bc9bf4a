"""The file: its settings, its size, its folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.store.entities import Box, Part, Status
from tests.store.sqlite.homes import engine_of, in_folder, like
from tests.store.test_batches import whole
from tests.store.world import World, make_keys
from thane.adapters.sqlite import SqliteEngine
from thane.adapters.sqlite.connection import WAL_KEPT_BYTES
from thane.kernel.errors import ConnectionFailed, Corrupt, DatabaseError, StorageFull, TransactionFailed
from thane.kernel.records import Order, Predicate, Unit, schema_of

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 1,
    "foreign_keys": 1,
    "secure_delete": 1,
    "temp_store": 2,
}


async def test_every_connection_has_its_settings(home: World) -> None:
    engine = engine_of(home)
    assert await engine._reader.pooled(_settings) == PRAGMAS
    assert _settings(engine._writer.connection) == PRAGMAS
    assert _settings(engine._reader._inline.connection) == PRAGMAS


def _settings(connection: apsw.Connection) -> dict[str, object]:
    return {name: connection.execute(f"PRAGMA {name}").get for name in PRAGMAS}


async def test_durable_batches_and_only_they_are_synced(home: World) -> None:
    connection = engine_of(home)._writer.connection

    async def durable(unit: Unit) -> None:
        unit.durable = True

    await home.run(durable)
    assert connection.execute("PRAGMA synchronous").get == 2
    await home.boxed()
    assert connection.execute("PRAGMA synchronous").get == 1


async def test_with_full_durability_every_batch_is_synced(tmp_path: Path) -> None:
    world = in_folder(tmp_path / "store", make_keys(tmp_path / "keys"))
    world.engine = SqliteEngine(
        tmp_path / "store" / "thane.db", world.registry, world.clock, durability="full"
    )
    await world.engine.open()
    world._use(world.engine)
    await world.found()
    assert engine_of(world)._writer.connection.execute("PRAGMA synchronous").get == 2
    await world.engine.close()


async def test_the_write_ahead_log_stays_small_under_writes(home: World) -> None:
    wal = Path(f"{engine_of(home).path}-wal")
    largest = written = 0
    text = os.urandom(30_000).hex()
    box = await home.boxed(code="x")
    for n in range(600):
        await home.change(box, raw=text.encode(), number=n)
        written += len(text)
        largest = max(largest, wal.stat().st_size)
    assert written > 2 * WAL_KEPT_BYTES
    assert largest <= WAL_KEPT_BYTES, f"{largest >> 20} MB"
    await home.reopen()
    assert wal.stat().st_size < 1 << 20
    await whole(home, home.a)


async def test_a_long_read_holds_the_log_up_and_no_longer(home: World) -> None:
    engine = engine_of(home)
    reader = apsw.Connection(str(engine.path), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    before = reader.execute("SELECT count(*) FROM boxes").get
    data = os.urandom(60_000)
    box = await home.boxed()
    for n in range(150):
        await home.change(box, raw=data, number=n)
    assert engine.wal.pages > 1024
    assert reader.execute("SELECT count(*) FROM boxes").get == before
    reader.execute("COMMIT")
    reader.close()
    for n in range(300):
        await home.change(box, raw=data, number=n)
        if engine.wal.pages < 1024:
            break
    assert engine.wal.pages < 1024
    await whole(home, home.a)


@pytest.mark.parametrize("descending", [False, True])
async def test_a_list_in_an_indexed_order_is_not_sorted_again(home: World, descending: bool) -> None:
    """Else every page of a list would read all that match."""
    engine = engine_of(home)

    def plan(cls: type[Any], where: Predicate, *order: Order) -> str:
        table = engine._tables[schema_of(cls).table]
        sql = table.select(where, order, True)
        args = [home.a, *table.bind(where), 50]
        return str(engine._writer.connection.execute(f"EXPLAIN QUERY PLAN {sql}", args).fetchall())

    ids = Order("id", descending)
    for shown in (
        plan(Part, Part.box_id == "box_1", ids),
        plan(Box, Box.status == Status.NEW, Order("created_at", descending), ids),
        plan(Box, Box.name > "a", Order("name", descending), ids),
    ):
        # Names are unique and need no id behind them, which SQLite cannot know of a table's later order.
        assert "USE TEMP B-TREE FOR ORDER BY" not in shown
        assert "USING INDEX" in shown


async def test_a_store_can_be_read_beside_its_owner(home: World) -> None:
    box = await home.boxed()
    beside = in_folder(home.under.folder, home.keys)
    beside.a = home.a
    engine = SqliteEngine(engine_of(home).path, beside.registry, beside.clock, readonly=True)
    await engine.open()
    beside._use(engine)
    assert await beside.get(box) == box
    assert await engine.log_size(home.a) == 2
    changed = await home.change(box, number=1)
    assert await beside.get(box) == changed
    with pytest.raises(TypeError, match="read-only"):
        await beside.change(box, number=2)
    await engine.close()


async def test_text_that_is_no_text_is_damage(home: World) -> None:
    engine = engine_of(home)
    for inline in (True, False):
        with pytest.raises(Corrupt, match="damaged"):
            await engine._reader.rows("SELECT CAST(x'ff' AS TEXT)", (), "none", "list", inline=inline)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    world = in_folder(tmp_path / "store", make_keys(tmp_path / "keys"))
    engine = SqliteEngine(tmp_path / "nowhere" / "thane.db", world.registry, world.clock)
    with pytest.raises(ConnectionFailed, match="nowhere"):
        await engine.open()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of six megabytes."""
    where = tmp_path / "small"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(where)], check=True)
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.mark.needs_root
async def test_a_real_full_disk_is_said_and_forgiven(small_disk: Path, tmp_path: Path) -> None:
    world = in_folder(small_disk / "store", make_keys(tmp_path / "keys"))
    await world.open()
    await world.found()
    made: list[Box] = []
    with pytest.raises(StorageFull, match="nothing was written") as refused:
        for _ in range(200):
            made.append(await world.boxed(raw=os.urandom(100_000)))
    assert "Free space" in refused.value.hint
    assert await whole(world, world.a) == len(made) + 1
    for box in made:
        assert await world.get(box) == box
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    made.append(await world.boxed(raw=os.urandom(100_000)))
    await world.reopen()
    assert await whole(world, world.a) == len(made) + 1
    assert [await world.get(b) for b in made] == made
    await world.engine.close()


@pytest.mark.needs_root
async def test_a_disk_that_is_full_before_the_store_is_made_is_said(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "store").mkdir()
    fill = small_disk / "fill"
    try:
        with fill.open("wb") as file:
            while True:
                file.write(b"\0" * 4096)
    except OSError:
        pass
    world = in_folder(small_disk / "store", make_keys(tmp_path / "keys"))
    with pytest.raises(DatabaseError):
        await world.open()
    fill.unlink()
    await world.open()
    await world.found()
    await world.engine.close()


@pytest.mark.needs_root
async def test_a_read_only_disk_is_said(small_disk: Path, tmp_path: Path, home: World) -> None:
    await home.boxed()
    store = like(home, small_disk / "store")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DatabaseError) as refused:
        await store.open()
    assert isinstance(refused.value, (ConnectionFailed, TransactionFailed))
    assert refused.value.hint
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    await store.open()
    assert await whole(store, home.a) == 2
    await store.engine.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; the read-only disk is its test")
async def test_a_read_only_folder_is_said(tmp_path: Path, home: World) -> None:
    await home.boxed()
    store = like(home, tmp_path / "copy")
    for path in [store.under.folder, *store.under.folder.iterdir()]:
        path.chmod(0o500)
    try:
        with pytest.raises(DatabaseError):
            await store.open()
    finally:
        store.under.folder.chmod(0o700)
