"""A disk that fails, tears or fills at every single write and sync of a small workload.

For each: what was answered is there after the next opening; what was not is wholly there
or not at all; the tree is the one its leaves make; every row has the digest that its last
entry names; and SQLite itself finds no damage.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.store.entities import Box, Part, Tally
from tests.store.faulty_vfs import Fault, FaultyVFS
from tests.store.sqlite.homes import abandon, engine_of, in_folder, like
from tests.store.test_batches import whole
from tests.store.world import World, make_keys
from thane.kernel.errors import DatabaseError, StorageFull, TransactionFailed
from thane.kernel.ledger.leaf import decode_leaf
from thane.kernel.records import Unit, schema_of
from thane.kernel.records.engine import Committed, LogSize, RootTree, Selection, Signed
from thane.kernel.records.prepare import stored_digest

UNITS = 6


@pytest.fixture
async def template(tmp_path: Path) -> World:
    """A founded store with one row that every unit of the workload changes; closed."""
    world = in_folder(tmp_path / "template", make_keys(tmp_path / "keys"))
    await world.open()
    await world.found()
    await world.fill([world.box(name="shared")])
    await world.engine.close()
    return world


async def unit_of_work(world: World, n: int) -> Committed:
    """Unit `n`: a box and its part, a count, and the number of the shared row. The third is durable."""

    async def handler(unit: Unit) -> None:
        shared = await unit.first(Box, Box.name == "shared")
        assert shared is not None
        await unit.update(shared, number=max(n, shared.number))
        box = unit.create(world.box(name=f"box {n}", code=f"words of {n}"))
        unit.create(Part(id=f"prt_{n}", tenant_id=world.a, box_id=box.id, weight=n))
        unit.increment(Tally(id="tly_1", tenant_id=world.a), n=1)
        unit.durable = n == 3

    return (await world.run(handler, operation=f"work.{n}")).committed


async def work(world: World) -> dict[int, Committed]:
    """The workload: one unit, two at once, the durable one, two more. What was answered, by unit."""
    answered: dict[int, Committed] = {}
    for group in ((0,), (1, 2), (3,), (4,), (5,)):
        answers = await asyncio.gather(*(unit_of_work(world, n) for n in group), return_exceptions=True)
        for n, answer in zip(group, answers, strict=True):
            if isinstance(answer, Committed):
                answered[n] = answer
            else:
                assert isinstance(answer, DatabaseError), f"{answer!r} is not an error of ours"
    return answered


async def check(world: World, answered: dict[int, Committed]) -> set[int]:
    """Assert all that the module says of an open store; the units that are there."""
    damage = engine_of(world)._writer.connection.execute("PRAGMA integrity_check").fetchall()
    assert damage == [("ok",)]
    await whole(world, world.a)
    entries = await world.entries()
    operations = {decode_leaf(e.leaf).operation: e for e in entries}
    there = {n for n in range(UNITS) if f"work.{n}" in operations}
    assert set(answered) <= there, "an answered write is missing"
    for n, committed in answered.items():
        entry = operations[f"work.{n}"]
        assert (entry.index, entry.leaf_hash) == (committed.index, committed.leaf_hash)

    async def rows(unit: Unit) -> tuple[set[str], set[int], int, int, int]:
        boxes = {b.name: b for b in await unit.list(Box)}
        tally = await unit.find(Tally, "tly_1")
        parts = {p.weight for p in await unit.list(Part)}
        found = len(await unit.search(Box, "words", limit=100))
        return set(boxes), parts, 0 if tally is None else tally.n, boxes["shared"].version, found

    names, parts, count, version, found = await world.read(rows)
    assert names == {"shared", *(f"box {n}" for n in there)}
    assert (parts, count, version, found) == (there, len(there), len(there) + 1, len(there))
    for stored in await world.engine.select(Selection(schema=schema_of(Box), tenant_id=world.a)):
        head = next(h for h in entries[stored.entry or 0].heads if h.id == stored.record.id)
        assert stored_digest(schema_of(Box), stored).hex() == head.after
    return there


async def after_crash(copy: World, answered: dict[int, Committed]) -> set[int]:
    """Check a copy of the files as they lay; it must take writes again."""
    await copy.open()
    there = await check(copy, answered)
    await copy.boxed()
    await copy.engine.close()
    shutil.rmtree(copy.under.folder)
    return there


async def one_fault(template: World, disk: FaultyVFS, folder: Path, fault: Fault, at: int) -> bool:
    """Run the workload with one fault; whether the fault was reached."""
    world = like(template, folder / "live", disk.name)
    await world.open()
    disk.arm(fault, at)
    answered = await work(world)
    reached = disk.left < 1
    copy = like(world, folder / "copy", disk.name)
    if disk.is_dead:
        assert len(answered) < UNITS
        await abandon(world)
        disk.relieve()
        await after_crash(copy, answered)
    else:
        disk.relieve()
        there = await check(world, answered)
        assert there == set(answered), "a refused write is visible"
        assert len(there) > 2, "one fault stopped more than its own batch"
        await world.boxed()
        await world.engine.close()
        await after_crash(copy, answered)
    shutil.rmtree(folder / "live")
    return reached


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.TEAR, Fault.FAIL_WRITE, Fault.FAIL_SYNC, Fault.DIE_SYNC])
async def test_no_fault_at_any_place_breaks_a_promise(
    template: World, disk: FaultyVFS, tmp_path: Path, fault: Fault
) -> None:
    at = 1
    while await one_fault(template, disk, tmp_path, fault, at):
        at += 1
        assert at < 2000
    assert at > (1 if fault in (Fault.FAIL_SYNC, Fault.DIE_SYNC) else 50), "the workload met too few calls"


async def test_a_power_cut_takes_only_what_was_not_durable(
    template: World, disk: FaultyVFS, tmp_path: Path
) -> None:
    """Each file as it was at its last sync. Unit 3 is durable: with it, all before it are."""
    world = like(template, tmp_path / "live", disk.name)
    await world.open()
    answered: dict[int, Committed] = {}
    for n in range(UNITS):
        answered[n] = await unit_of_work(world, n)
        copy = like(world, tmp_path / "copy", disk.name)
        for name in ("thane.db", "thane.db-wal"):
            at_last_sync = disk.synced[str(world.under.folder / name)]
            (copy.under.folder / name).write_bytes(at_last_sync)
        there = await after_crash(copy, {m: answered[m] for m in answered if m <= 3 <= n})
        assert there == set(range(len(there))), "a later unit is there and an earlier one is not"
    await world.engine.close()


async def test_what_is_signed_was_on_the_disk_before(
    template: World, disk: FaultyVFS, tmp_path: Path
) -> None:
    world = like(template, tmp_path / "live", disk.name)
    await world.open()
    done = await unit_of_work(world, 0)
    wal = str(world.under.folder / "thane.db-wal")
    seen: list[bytes] = []

    def round_(sizes: Sequence[LogSize], root: RootTree) -> list[Signed]:
        del root
        seen.append(disk.synced[wal])
        return [Signed(s.tenant_id, s.size, "note") for s in sizes]

    assert done.leaf_hash is not None
    assert done.leaf_hash not in disk.synced[wal]
    await world.engine.sign(round_)
    assert done.leaf_hash in seen[0]
    assert b"note" in disk.synced[wal]
    await world.engine.close()


async def test_a_full_disk_says_so_writes_nothing_and_is_forgiven(
    template: World, disk: FaultyVFS, tmp_path: Path
) -> None:
    for at in (1, 2, 7, 20, 40):
        world = like(template, tmp_path / "live", disk.name)
        await world.open()
        disk.arm(Fault.FULL, at)
        answered: dict[int, Committed] = {}
        with pytest.raises(StorageFull, match="nothing was written") as refused:
            for n in range(UNITS):
                answered[n] = await unit_of_work(world, n)
        assert refused.value.status == 507
        assert "Free space" in refused.value.hint
        assert await check(world, answered) == set(answered)
        with pytest.raises(StorageFull):
            await unit_of_work(world, UNITS - 1)
        disk.relieve()
        answered[UNITS - 1] = await unit_of_work(world, UNITS - 1)
        assert await check(world, answered) == set(answered)
        await after_crash(like(world, tmp_path / "copy"), answered)
        await world.engine.close()
        shutil.rmtree(tmp_path / "live")


async def test_everyone_in_a_failed_batch_is_told_and_their_next_try_succeeds(
    template: World, disk: FaultyVFS, tmp_path: Path
) -> None:
    world = like(template, tmp_path / "live", disk.name)
    await world.open()
    disk.arm(Fault.FAIL_WRITE, 3)
    boxes = [world.box() for _ in range(8)]

    async def create(box: Box) -> object:
        return await world.fill([box])

    answers = await asyncio.gather(*map(create, boxes), return_exceptions=True)
    assert all(isinstance(a, TransactionFailed) for a in answers)
    assert len({id(a) for a in answers}) == len(answers)  # each its own: tracebacks are per task
    assert all(not isinstance(a, Exception) for a in await asyncio.gather(*map(create, boxes)))
    await whole(world, world.a)
    await world.engine.close()


async def test_a_slow_disk_delays_only_who_waits_for_it(
    template: World, disk: FaultyVFS, tmp_path: Path
) -> None:
    world = like(template, tmp_path / "live", disk.name)
    await world.open()
    disk.arm(Fault.DELAY, delay=0.002)
    assert set(await work(world)) == set(range(UNITS))
    disk.relieve()
    await world.engine.close()


async def test_a_schema_step_on_a_failing_disk_leaves_all_as_it_was(
    template: World, disk: FaultyVFS, tmp_path: Path
) -> None:
    from tests.store.test_steps import Other
    from thane.kernel.errors import MigrationFailed
    from thane.kernel.records.steps import CreateTable

    world = like(template, tmp_path / "live", disk.name)
    await world.open()
    before = await world.engine.schema_digest()
    for at in range(1, 8):
        disk.arm(Fault.FAIL_WRITE, at)
        with pytest.raises(MigrationFailed):
            await world.engine.apply_steps([CreateTable(schema_of(Other))], "never")
        disk.relieve()
        assert await world.engine.schema_digest() == before
        await world.boxed()
    await world.engine.apply_steps([CreateTable(schema_of(Other))], "now")
    await world.engine.close()


async def test_a_read_that_fails_is_an_error_of_ours_and_passes(home: World) -> None:
    with pytest.raises(DatabaseError):
        await engine_of(home)._reader.rows("SELECT nothing FROM boxes", (), "boxes", "list")
    await home.boxed()


async def test_a_write_ahead_log_that_was_cut_leaves_a_shorter_store_that_is_whole(
    template: World, tmp_path: Path
) -> None:
    world = like(template, tmp_path / "live")
    await world.open()
    answered = await work(world)
    assert set(answered) == set(range(UNITS))
    wal = world.under.folder / "thane.db-wal"
    size = wal.stat().st_size
    sizes: set[int] = set()
    for part in range(21):
        copy = like(world, tmp_path / "copy")
        with (copy.under.folder / "thane.db-wal").open("r+b") as file:
            file.truncate(size * part // 20)
        await copy.open()
        there = await check(copy, {})
        assert there == set(range(len(there))), "a later unit is there and an earlier one is not"
        full = await world.entries()
        cut = await copy.entries()
        assert [e.leaf_hash for e in cut] == [e.leaf_hash for e in full[: len(cut)]]
        sizes.add(len(there))
        await copy.boxed()
        await copy.engine.close()
        shutil.rmtree(copy.under.folder)
    assert {0, UNITS} <= sizes
    assert len(sizes) > 3
    await world.engine.close()


async def test_a_file_that_is_no_store_is_named_as_damaged(template: World, tmp_path: Path) -> None:
    from thane.kernel.errors import Corrupt

    copy = like(template, tmp_path / "copy")
    path = copy.under.folder / "thane.db"
    path.write_bytes(b"not a database at all, but long enough to be taken for one" * 200)
    with pytest.raises(Corrupt, match="not a sound SQLite store"):
        await copy.open()
