"""`thane verify`: a sound store is found sound, also beside its owner; each tampering is found and named.

The tampering is done with plain SQL by a separate connection and shares no code with the
verifier; where a forger would keep hashes consistent, this one does too.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.kernel.jobs.world import LEDGER, Note, Owner, Tally, World, world
from thane.kernel.jobs import CounterCheck, Problem, TenantCheck
from thane.kernel.ledger.note import Signer, sign_checkpoint
from thane.kernel.records import Records, Unit
from thane.maintenance.findings import MOST_PROBLEMS, Findings, Report
from thane.maintenance.verify import verify


def sql(path: Path, statement: str, *args: Any) -> list[Any]:
    connection = apsw.Connection(str(path / "store.db"))
    try:
        return connection.execute(statement, args).fetchall()
    finally:
        connection.close()


def entry(index: int, log: int = 1) -> int:
    """The key of an entry; logs are numbered in the order in which they began, the root log is 0."""
    return (log << 40) | index


async def filled(w: World, count: int = 8) -> tuple[str, list[Note]]:
    """A signed store with two tenants, changed and deleted rows, and a signature in the middle."""
    tenant_id, other = await w.tenant(), await w.tenant()
    notes = await w.notes(tenant_id, count)
    await w.notes(other, 2)
    await w.signer.sign_now()
    for note in notes[:3]:
        await w.retitle(note, "changed")
    await w.remove(notes[3])
    await w.signer.sign_now()
    return tenant_id, notes


async def report_of(w: World, *, key: bool = True, kept: Sequence[str] = ()) -> Report:
    return await verify(w.records, w.signer.verifier if key else None, kept=kept)


async def spoilt(path: Path, count: int = 8) -> str:
    """A closed, sound store, ready to be tampered with; its first tenant."""
    async with world(path) as w:
        tenant_id, _ = await filled(w, count)
        assert (await report_of(w)).ok
    return tenant_id


async def found(path: Path, **options: Any) -> list[Problem]:
    async with world(path) as w:
        report = await report_of(w, **options)
    assert not report.ok
    assert f"{report.found} problems:" in report.text()
    return list(report.problems)


def kinds(problems: Iterable[Problem]) -> set[str]:
    return {problem.kind for problem in problems}


# -- sound stores --------------------------------------------------------------------------------


async def test_an_empty_store_and_a_full_one_are_sound(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert (await report_of(w)).ok
        steps: list[tuple[int, int]] = []
        await filled(w, 300)
        report = await verify(
            w.records, w.signer.verifier, (), lambda done, total: steps.append((done, total))
        )
        assert report.problems == ()
        assert report.tenants == 2
        assert report.entries == 2 + 302 + 4 + 3  # tenants, notes, changes, root log
        assert report.rows == 299 + 2 + 2
        assert report.checkpoints == 5
        assert steps[-1][0] == steps[-1][1] == report.entries + report.rows
        assert "Everything agrees." in report.text()


async def test_without_a_key_everything_else_is_checked_and_the_report_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await filled(w)
        report = await report_of(w, key=False)
        assert report.ok
        assert "NOT checked" in report.text()


async def test_a_store_that_is_written_and_signed_meanwhile_is_sound(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id, notes = await filled(w, 400)
        stop = asyncio.Event()

        async def write() -> None:
            for turn in range(10_000):
                if stop.is_set():
                    return
                note = await w.note(tenant_id)
                await w.retitle(note, "b")
                if turn % 3 == 0:
                    await w.remove(note)
                await w.retitle(notes[4 + turn % 300], f"turn {turn}")
                if turn % 20 == 0:
                    await w.tenant()
                    await w.signer.sign_now()

        async def look() -> list[Report]:
            try:
                return [await report_of(w) for _ in range(4)]
            finally:
                stop.set()

        reports, _ = await asyncio.gather(look(), write())
        assert [report.problems for report in reports] == [(), (), (), ()]


async def test_a_tenant_that_came_and_was_signed_meanwhile_is_no_problem(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await filled(w)
        last = await w.tenant()
        await w.notes(last, 1)

        async def meanwhile(*_: object) -> AsyncIterator[Problem]:
            await w.notes(last, 1)
            await w.notes(await w.tenant(), 1)
            await w.signer.sign_now()
            nothing: list[Problem] = []
            for problem in nothing:
                yield problem

        report = await verify(w.records, w.signer.verifier, [TenantCheck(name="meanwhile", run=meanwhile)])
        assert report.problems == ()


async def test_blanked_contents_of_old_versions_are_counted_and_not_called_wrong(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id, _ = await filled(w)
        await w.engine.blank(tenant_id, 1, [0], True)
        report = await report_of(w)
        assert report.ok
        assert report.blanked == 2
        assert "2 contents were blanked" in report.text()


async def test_an_empty_body_of_a_living_row_is_wrong(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id, notes = await filled(w)
        await w.engine.blank(tenant_id, 6, [0], False)
        (problem,) = (await report_of(w)).problems
        assert (problem.kind, problem.index) == ("body_blanked", 6)
        assert problem.row == f"notes/{notes[5].id}"


# -- tampering -----------------------------------------------------------------------------------


async def test_an_edited_row_is_found(tmp_path: Path) -> None:
    tenant_id = await spoilt(tmp_path)
    sql(tmp_path, "UPDATE notes SET title = 'forged' WHERE title = 'note 5'")
    (problem,) = await found(tmp_path)
    assert (problem.kind, problem.tenant_id, problem.index) == ("row", tenant_id, 6)
    assert "not what its last entry made of it" in problem.message


async def test_an_edited_row_of_no_tenant_is_found(tmp_path: Path) -> None:
    tenant_id = await spoilt(tmp_path)
    sql(tmp_path, "UPDATE owners SET name = 'Evil' WHERE id = ?", tenant_id)
    (problem,) = await found(tmp_path)
    assert (problem.kind, problem.row, problem.index) == ("row", f"owners/{tenant_id}", 0)


async def test_an_edited_sealed_field_is_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "UPDATE notes SET secret = randomblob(length(secret)) WHERE title = 'note 5'")
    assert kinds(await found(tmp_path)) == {"row"}


async def test_an_unreadable_row_is_found_and_the_others_still_checked(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "UPDATE notes SET amount = 'many' WHERE title = 'note 5'")
    sql(tmp_path, "UPDATE notes SET title = 'forged' WHERE title = 'note 6'")
    problems = await found(tmp_path)
    assert kinds(problems) == {"row_unreadable", "row"}
    assert any(p.row is not None for p in problems if p.kind == "row_unreadable")


async def test_a_row_put_beside_the_ledger_and_a_row_taken_away_are_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    columns = "tenant_id, title, secret, amount, version, _salt, _entry"
    sql(
        tmp_path,
        f"INSERT INTO notes (id, {columns}) SELECT 'not_x', {columns} FROM notes WHERE title = 'note 5'",
    )
    (problem,) = await found(tmp_path)
    assert (problem.kind, problem.row) == ("row_without_head", "notes/not_x")
    sql(tmp_path, "DELETE FROM notes WHERE id = 'not_x' OR title = 'note 6'")
    (problem,) = await found(tmp_path)
    assert (problem.kind, problem.index) == ("head_without_row", 7)


async def test_a_deleted_row_that_was_put_back_is_found(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        _, notes = await filled(w)
    columns = "tenant_id, title, secret, amount, version, _salt, _entry"
    sql(
        tmp_path,
        f"INSERT INTO notes (id, {columns}) SELECT ?, {columns} FROM notes WHERE title = 'note 5'",
        notes[3].id,
    )
    (problem,) = await found(tmp_path)
    assert "has deleted it" in problem.message


@pytest.mark.parametrize("entry_index", [2, 10_000])
async def test_a_row_that_names_another_entry_is_found(tmp_path: Path, entry_index: int) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "UPDATE notes SET _entry = ? WHERE title = 'note 5'", entry_index)
    (problem,) = await found(tmp_path)
    assert problem.kind == "row_entry"
    assert str(entry_index) in problem.message


async def test_an_older_version_of_a_row_is_found(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        _, notes = await filled(w)
        row = sql(
            tmp_path, "SELECT title, secret, version, _salt, _entry FROM notes WHERE id = ?", notes[4].id
        )
        await w.retitle(notes[4], "newer")
    sql(
        tmp_path,
        "UPDATE notes SET title = ?, secret = ?, version = ?, _salt = ?, _entry = ? WHERE id = ?",
        *row[0],
        notes[4].id,
    )
    (problem,) = await found(tmp_path)
    assert (problem.kind, problem.index) == ("row_entry", 13)


async def test_an_edited_leaf_is_found(tmp_path: Path) -> None:
    tenant_id = await spoilt(tmp_path)
    sql(
        tmp_path,
        "UPDATE thane_entries SET leaf = replace(leaf, 'notes.create', 'notes.forged') WHERE id = ?",
        entry(4),
    )
    (problem,) = await found(tmp_path)
    assert (problem.kind, problem.tenant_id, problem.index) == ("leaf_hash", tenant_id, 4)
    assert str(problem).startswith(f"leaf_hash: {tenant_id} entry 4: the leaf was changed")


async def test_an_edited_leaf_with_its_hash_is_found_by_the_signatures(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    (row,) = sql(tmp_path, "SELECT leaf FROM thane_entries WHERE id = ?", entry(4))
    leaf = row[0].replace("notes.create", "notes.forged")
    digest = hashlib.sha256(b"\0" + leaf.encode()).digest()
    sql(tmp_path, "UPDATE thane_entries SET leaf = ?, hash = ? WHERE id = ?", leaf, digest, entry(4))
    problems = await found(tmp_path)
    assert kinds(problems) == {"root"}
    assert "is not the one in the root log's note of size 9" in problems[0].message


async def test_an_edited_leaf_in_a_full_tile_is_named_by_the_tile(tmp_path: Path) -> None:
    tenant_id = await spoilt(tmp_path, 300)
    (row,) = sql(tmp_path, "SELECT leaf FROM thane_entries WHERE id = ?", entry(77))
    leaf = row[0].replace("notes.create", "notes.forged")
    digest = hashlib.sha256(b"\0" + leaf.encode()).digest()
    sql(tmp_path, "UPDATE thane_entries SET leaf = ?, hash = ? WHERE id = ?", leaf, digest, entry(77))
    problems = await found(tmp_path)
    assert kinds(problems) == {"root", "tile"}
    assert ("tile", tenant_id, 77) in {(p.kind, p.tenant_id, p.index) for p in problems}


async def test_an_edited_tile_and_a_lost_one_are_found(tmp_path: Path) -> None:
    tenant_id = await spoilt(tmp_path, 300)
    (row,) = sql(tmp_path, "SELECT data FROM thane_tiles WHERE log = 1 AND level = 0 AND n = 0")
    data = bytearray(row[0])
    data[32 * 200 + 5] ^= 1
    sql(tmp_path, "UPDATE thane_tiles SET data = ? WHERE log = 1", bytes(data))
    (problem,) = await found(tmp_path)
    assert (problem.kind, problem.tenant_id, problem.index) == ("tile", tenant_id, 200)
    sql(tmp_path, "DELETE FROM thane_tiles")
    (problem,) = await found(tmp_path)
    assert "tile 0/0 is not in the store" in problem.message


async def test_an_edited_head_is_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(
        tmp_path,
        "UPDATE thane_entries SET heads = replace(heads, 'notes', 'votes') WHERE id = ?",
        entry(6),
    )
    problems = await found(tmp_path)
    assert "heads" in kinds(problems)
    assert any("not those the leaf names" in p.message and p.index == 6 for p in problems)
    assert "row_without_head" in kinds(problems)


async def test_removed_heads_are_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "UPDATE thane_entries SET heads = NULL, bodies = NULL WHERE id = ?", entry(6))
    assert {"heads", "row_without_head"} <= kinds(await found(tmp_path))


async def test_a_chain_that_leaves_a_version_out_is_found(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id, notes = await filled(w)
        await w.retitle(notes[4], "second")
        await w.retitle(notes[4], "third")
        last = await w.engine.log_size(tenant_id) - 1
    (row,) = sql(tmp_path, "SELECT heads FROM thane_entries WHERE id = ?", entry(last))
    heads = json.loads(row[0])
    heads[0]["previous"] = 5
    text = json.dumps(heads, separators=(",", ":"), sort_keys=True)
    sql(tmp_path, "UPDATE thane_entries SET heads = ? WHERE id = ?", text, entry(last))
    problems = await found(tmp_path)
    assert kinds(problems) == {"heads", "chain"}
    assert any("names entry 5 as its previous one" in p.message for p in problems)


async def test_an_edited_body_and_edited_details_are_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    (row,) = sql(tmp_path, "SELECT bodies FROM thane_entries WHERE id = ?", entry(4))
    body = bytearray(row[0])
    body[-1] ^= 1
    sql(tmp_path, "UPDATE thane_entries SET bodies = ? WHERE id = ?", bytes(body), entry(4))
    sql(tmp_path, "UPDATE thane_entries SET details = randomblob(60) WHERE id = ?", entry(5))
    problems = await found(tmp_path)
    assert {(p.kind, p.index) for p in problems} == {("body", 4), ("details", 5)}


async def test_an_unreadable_entry_is_found_and_the_others_still_checked(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "UPDATE thane_entries SET heads = 'no json' WHERE id = ?", entry(4))
    sql(tmp_path, "UPDATE thane_entries SET details = randomblob(60) WHERE id = ?", entry(6))
    problems = await found(tmp_path)
    assert {("entry_unreadable", 4), ("details", 6)} <= {(p.kind, p.index) for p in problems}


async def test_a_leaf_that_is_no_leaf_is_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    digest = hashlib.sha256(b"\0{}").digest()
    sql(tmp_path, "UPDATE thane_entries SET leaf = '{}', hash = ? WHERE id = ?", digest, entry(4))
    assert {"leaf", "root"} <= kinds(await found(tmp_path))


async def test_a_deleted_entry_is_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "DELETE FROM thane_entries WHERE id = ?", entry(4))
    problems = await found(tmp_path)
    assert ("entry_missing", 4) in {(p.kind, p.index) for p in problems}
    assert any("cannot be checked" in p.message for p in problems)


async def test_swapped_entries_are_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "UPDATE thane_entries SET id = -1 WHERE id = ?", entry(4))
    sql(tmp_path, "UPDATE thane_entries SET id = ? WHERE id = ?", entry(4), entry(5))
    sql(tmp_path, "UPDATE thane_entries SET id = ? WHERE id = -1", entry(5))
    problems = await found(tmp_path)
    assert {("leaf_order", 4), ("leaf_order", 5)} <= {(p.kind, p.index) for p in problems}
    assert "root" in kinds(problems)


async def test_an_entry_of_another_tenant_is_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    (row,) = sql(
        tmp_path, "SELECT leaf, hash, heads, bodies, details FROM thane_entries WHERE id = ?", entry(1, 2)
    )
    sql(
        tmp_path,
        "UPDATE thane_entries SET leaf = ?, hash = ?, heads = ?, bodies = ?, details = ? WHERE id = ?",
        *row,
        entry(1),
    )
    assert {"leaf_tenant", "root"} <= kinds(await found(tmp_path))


async def test_a_log_that_was_cut_is_found(tmp_path: Path) -> None:
    tenant_id = await spoilt(tmp_path)
    sql(tmp_path, "DELETE FROM thane_entries WHERE id >= ? AND id < ?", entry(10), entry(0, 2))
    problems = await found(tmp_path)
    assert {"truncated", "row_entry"} <= kinds(problems)
    assert any(
        p.tenant_id == tenant_id and p.index == 10 and "entries 10 to 12 are missing" in p.message
        for p in problems
    )


async def test_a_log_that_was_cut_with_all_its_checkpoints_is_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "DELETE FROM thane_entries WHERE id >= ? AND id < ?", entry(10), entry(0, 2))
    sql(tmp_path, "DELETE FROM thane_checkpoints WHERE log = 1 AND size > 10")
    problems = await found(tmp_path)
    assert {"truncated", "checkpoint_missing"} <= kinds(problems)


async def test_a_whole_log_that_was_removed_is_found(tmp_path: Path) -> None:
    tenant_id = await spoilt(tmp_path)
    for table, column in (
        ("thane_entries", "id >> 40"),
        ("thane_checkpoints", "log"),
        ("thane_logs", "number"),
    ):
        sql(tmp_path, f"DELETE FROM {table} WHERE {column} = 1")
    problems = await found(tmp_path)
    assert "log_missing" in kinds(problems)
    assert any(tenant_id in p.message for p in problems)


@pytest.mark.parametrize("log", [0, 1])
async def test_a_checkpoint_of_another_key_is_found(tmp_path: Path, log: int) -> None:
    await spoilt(tmp_path)
    (row,) = sql(tmp_path, "SELECT note FROM thane_checkpoints WHERE log = ? ORDER BY size DESC LIMIT 1", log)
    text = row[0].partition("\n\n")[0] + "\n"
    forged = text + "\n" + Signer(LEDGER, b"x" * 32).signature_line(text)
    sql(tmp_path, "UPDATE thane_checkpoints SET note = ? WHERE note = ?", forged, row[0])
    problems = await found(tmp_path)
    assert "checkpoint" in kinds(problems)
    assert any("not valid" in p.message for p in problems)


async def test_a_checkpoint_moved_to_another_size_or_log_is_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "UPDATE thane_checkpoints SET size = size - 1 WHERE log = 1 AND size = 13")
    problems = await found(tmp_path)
    assert {"checkpoint", "checkpoint_missing"} <= kinds(problems)
    sql(tmp_path, "UPDATE thane_checkpoints SET log = 2 WHERE log = 1 AND size = 12")
    assert any("is of" in p.message for p in await found(tmp_path))


async def test_a_checkpoint_that_the_root_log_does_not_know_is_found(tmp_path: Path) -> None:
    tenant_id = await spoilt(tmp_path)
    async with world(tmp_path) as w:
        size = 5
        hashes = [row.leaf_hash for row in await w.engine.entries(tenant_id, 0, size)]
        left = hashlib.sha256(b"\1" + hashes[0] + hashes[1]).digest()
        right = hashlib.sha256(b"\1" + hashes[2] + hashes[3]).digest()
        both = hashlib.sha256(b"\1" + left + right).digest()
        root = hashlib.sha256(b"\1" + both + hashes[4]).digest()
        note = sign_checkpoint(w.signer.signer, size, root, origin=f"{LEDGER}/{tenant_id}")
    sql(tmp_path, "INSERT INTO thane_checkpoints (log, size, note) VALUES (1, ?, ?)", size, note)
    (problem,) = await found(tmp_path)
    assert (problem.kind, problem.index) == ("checkpoint_unsaid", 4)


async def test_an_edited_root_log_is_found(tmp_path: Path) -> None:
    await spoilt(tmp_path)
    sql(tmp_path, "UPDATE thane_entries SET leaf = 'x' WHERE id = 1")
    assert {"leaf_hash", "root_leaf"} <= kinds(await found(tmp_path))
    sql(tmp_path, "DELETE FROM thane_checkpoints WHERE log = 0 AND size = 3")
    assert "root_unsigned" in kinds(await found(tmp_path))


async def test_a_ledger_made_anew_without_the_key_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    await spoilt(tmp_path / "a")
    async with world(tmp_path / "b") as w:  # another key, another history
        await filled(w)
    (tmp_path / "a" / "store.db").write_bytes((tmp_path / "b" / "store.db").read_bytes())
    problems = await found(tmp_path / "a")
    assert {p.message for p in problems if p.kind == "checkpoint"}
    assert any("no known key" in p.message or "wrong" in p.message for p in problems)


async def test_a_ledger_made_anew_with_the_key_is_found_by_a_kept_checkpoint(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
    before = (tmp_path / "store.db").read_bytes()
    async with world(tmp_path) as w:
        await w.notes(tenant_id, 3)
        mine, root = await w.signer.sign_now()
    (tmp_path / "store.db").write_bytes(before)
    (tmp_path / "keys" / "signer-state").unlink()
    async with world(tmp_path) as w:
        await w.notes(tenant_id, 3)
        await w.signer.sign_now()
        assert (await report_of(w)).ok
        for kept in (root.note, mine.note):
            (problem,) = (await report_of(w, kept=(kept,))).problems
            assert problem.kind == "root"
            assert "the kept checkpoint" in problem.message
        (problem,) = (await report_of(w, kept=("no note",))).problems
        assert problem.kind == "checkpoint"


# -- hooks ---------------------------------------------------------------------------------------


async def tallies(records: Records, tenant_id: str) -> Iterable[Tally]:
    """Each tally from its notes, living or deleted: here, from the entries that made them."""
    count, start = 0, 0
    while rows := await records.engine.entries(tenant_id, start, 100):
        count += sum(head.schema == "notes" and head.op == "create" for row in rows for head in row.heads)
        start = rows[-1].index + 1
    if not count:
        return []
    return [Tally(id=f"tal_{tenant_id}", tenant_id=tenant_id, notes=count, amount=Decimal("0.5") * count)]


async def test_counters_are_held_against_their_sources(tmp_path: Path) -> None:
    check = CounterCheck(Tally, tallies)
    async with world(tmp_path) as w:
        tenant_id, _ = await filled(w)
        assert (await verify(w.records, None, (check,))).ok
        sql(tmp_path, "UPDATE tallies SET notes = notes + 1 WHERE tenant_id = ?", tenant_id)
        (problem,) = (await verify(w.records, None, (check,))).problems
        assert (problem.kind, problem.row) == ("counter", f"tallies/tal_{tenant_id}")
        assert problem.message == "notes is 9, and its sources make 8"
        assert (await verify(w.records, None, (CounterCheck(Tally, tallies, ignore=("notes",)),))).ok
        sql(tmp_path, "UPDATE tallies SET id = 'tal_x' WHERE tenant_id = ?", tenant_id)
        messages = {p.message for p in (await verify(w.records, None, (check,))).problems}
        assert messages == {
            "the counter counts what has no source",
            "the counter is missing, though its sources are there",
        }


async def test_a_modules_own_check_gets_its_entries(tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {}

    async def run(records: Records, tenant_id: str, indexes: Sequence[int]) -> AsyncIterator[Problem]:
        seen[tenant_id] = list(indexes)
        if len(indexes) > 3:
            yield Problem(kind="many", tenant_id=tenant_id, message="too many")

    async with world(tmp_path) as w:
        tenant_id, _ = await filled(w)
        operations = ("notes.update", "notes.delete")
        report = await verify(w.records, None, (TenantCheck(name="x", run=run, operations=operations),))
        assert [p.kind for p in report.problems] == ["many"]
        assert seen[tenant_id] == [9, 10, 11, 12]


async def test_rows_of_a_table_that_is_not_declared_any_more_are_not_asked_for(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await filled(w)
        del w.registry._schemas["notes"]
        assert (await report_of(w)).ok


def test_the_report_stays_small_however_much_is_wrong() -> None:
    findings = Findings(None)
    for n in range(MOST_PROBLEMS + 5):
        findings.problem("row", "tnt_x", "bad", index=n)
    assert (len(findings.problems), findings.found) == (MOST_PROBLEMS, MOST_PROBLEMS + 5)


async def test_rows_of_no_tenant_may_move_meanwhile(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id, _ = await filled(w)

        async def rename(unit: Unit) -> None:
            owner = await unit.get(Owner, tenant_id)
            await unit.update(owner, name=owner.name + "!")

        async def write() -> None:
            for _ in range(30):
                await w.act(tenant_id, "tenants.update", rename)

        report, _ = await asyncio.gather(report_of(w), write())
        assert report.problems == ()
        assert (await report_of(w)).problems == ()
