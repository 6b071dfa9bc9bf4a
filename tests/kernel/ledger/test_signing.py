"""The signer: notes that verifiers accept, a state outside the store, and no signature on a fork."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.kernel.jobs.world import LEDGER, World, until, world
from thane.kernel.errors import LedgerBehind, NotFound, StorageFull, Unavailable
from thane.kernel.feed import Feed
from thane.kernel.jobs import JobRunner, LedgerSigner
from thane.kernel.ledger.errors import NoteInvalid
from thane.kernel.ledger.note import Checkpoint, Signer, open_checkpoint, sign_checkpoint
from thane.kernel.ledger.signing import Head, LedgerForked, open_head, sign_round, tenant_of, tenant_origin
from thane.kernel.ledger.tree import TreeState, leaf_hash, root_of
from thane.kernel.records import ROOT_LOG
from thane.kernel.records.engine import LogSize, Signed
from thane.kernel.sealing import keyfiles
from thane.kernel.sealing.errors import KeyFileCorrupt
from thane.kernel.sealing.keyring import KeyFolder
from thane.maintenance.prove import prove
from thane_verify.notes import PublicKey
from thane_verify.tlogproof import check

SIGNER = Signer(LEDGER, bytes(range(32)))


class Root:
    """A root log in memory."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self._tree = TreeState()

    def append(self, leaf: bytes) -> None:
        self.leaves.append(leaf)
        self._tree.append(leaf_hash(leaf))

    @property
    def size(self) -> int:
        return self._tree.size

    def root(self) -> bytes:
        return self._tree.root()


def sql(w: World, statement: str, *args: Any) -> None:
    """What somebody with the file in their hands does to it."""
    connection = apsw.Connection(str(w.engine.path))
    connection.execute(statement, args)
    connection.close()


# -- the pure part -------------------------------------------------------------------------------


def test_a_round_signs_each_tree_and_the_root_log_over_their_notes() -> None:
    root = Root()
    trees = [LogSize("tnt_a", 3, b"a" * 32), LogSize("tnt_b", 1, b"b" * 32)]
    first, second, top = sign_round(SIGNER, trees, root, Signed)
    verifier = SIGNER.verifier
    assert open_head(first.note, verifier, "tnt_a") == Head(3, b"a" * 32)
    assert (second.tenant_id, second.size) == ("tnt_b", 1)
    assert root.leaves == [Checkpoint(f"{LEDGER}/tnt_a", 3, b"a" * 32).text().encode(),
                           Checkpoint(f"{LEDGER}/tnt_b", 1, b"b" * 32).text().encode()]  # fmt: skip
    assert open_head(top.note, verifier) == Head(2, root_of(root.leaves))
    assert top.tenant_id == ROOT_LOG
    assert sign_round(SIGNER, [], root, Signed) == []


def test_a_note_speaks_for_its_own_log_only() -> None:
    note = sign_checkpoint(SIGNER, 1, b"r" * 32, origin=tenant_origin(LEDGER, "tnt_a"))
    with pytest.raises(NoteInvalid):
        open_head(note, SIGNER.verifier, "tnt_b")
    with pytest.raises(NoteInvalid):
        open_head(note, SIGNER.verifier)
    assert tenant_of(LEDGER, f"{LEDGER}/tnt_a") == "tnt_a"
    assert tenant_of(LEDGER, LEDGER) is None
    assert tenant_of(LEDGER, "other/tnt_a") is None


# -- with a store --------------------------------------------------------------------------------


async def test_what_grew_is_signed_and_a_quiet_store_is_left_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        one, two = await w.tenant(), await w.tenant()
        await w.notes(one, 5)
        signed = await w.signer.sign_now()
        assert [(s.tenant_id, s.size) for s in signed] == [*sorted([(one, 6), (two, 1)]), (ROOT_LOG, 2)]
        assert await w.signer.sign_now() == []
        await w.note(two)
        assert [(s.tenant_id, s.size) for s in await w.signer.sign_now()] == [(two, 2), (ROOT_LOG, 3)]
        leaves = [row.leaf for row in await w.engine.entries(ROOT_LOG, 0, 10)]
        newest = (await w.engine.checkpoints(ROOT_LOG))[0]
        assert open_head(newest.note, w.signer.verifier) == Head(3, root_of(leaves))
        assert await w.signer.state() == newest.note


async def test_a_proof_made_on_demand_holds_for_the_independent_verifier(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 300)
        key = PublicKey.parse(w.signer.vkey)
        with pytest.raises(Unavailable, match="no checkpoint"):
            await prove(w.engine, None, tenant_id, 7)
        for index in (0, 7, 255, 256, 300):
            report = check((await prove(w.engine, w.signer, tenant_id, index)).encode(), [key])
            assert f"entry {index} of the log {LEDGER}/{tenant_id}" in report.proven[0]
        await w.note(tenant_id)
        assert check((await prove(w.engine, w.signer, tenant_id, 301)).encode(), [key])
        for wrong in (302, -1):
            with pytest.raises(NotFound, match="the log has 302"):
                await prove(w.engine, w.signer, tenant_id, wrong)


async def test_the_job_signs_while_trees_grow_and_on_exit(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.signer.check_store_against_state()
        runner = JobRunner(w.tools, w.feed, w.leases, periodic=w.signer.periodic())
        await runner.start()
        tenant_id = await w.tenant()

        async def covered() -> bool:
            newest = await w.engine.checkpoints(tenant_id)
            return bool(newest) and newest[0].size == await w.engine.log_size(tenant_id)

        await until(covered)
        await w.notes(tenant_id, 10)
        await until(covered)
        await runner.stop()
        await w.note(tenant_id)
        assert not await covered()
        await w.signer.close()
        assert await covered()


async def test_after_a_restart_signing_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.signer.sign_now()
    for _ in range(3):
        async with world(tmp_path) as w:
            await w.signer.check_store_against_state()
            await w.notes(tenant_id, 90)
            assert len(await w.signer.sign_now()) == 2
    assert w.signer._root is not None
    assert w.signer._root.size == 4


async def test_two_signers_take_turns_without_a_fork(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        other = LedgerSigner(w.engine, KeyFolder(tmp_path / "keys"), Feed(w.engine))
        tenant_id = await w.tenant()
        for signer in (w.signer, other, other, w.signer, other):
            await w.note(tenant_id)
            assert len(await signer.sign_now()) == 2
        await asyncio.gather(w.signer.observe(), other.observe())
        assert (await w.signer.observe()).size == 5


async def test_every_process_checks_and_keeps_what_it_sees(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        folder = KeyFolder(tmp_path / "keys")
        tenant_id = await w.tenant()
        await w.signer.sign_now()
        watcher = LedgerSigner(w.engine, folder, w.feed)
        assert (await watcher.observe()).size == 1
        await w.note(tenant_id)
        await w.signer.sign_now()
        assert (await watcher.observe()).size == 2
        sql(w, "UPDATE thane_entries SET hash = randomblob(32) WHERE id = 0")
        await w.note(tenant_id)
        with pytest.raises(LedgerForked):
            await LedgerSigner(w.engine, folder, w.feed).observe()


# -- a store that is not what was signed ---------------------------------------------------------


async def test_a_store_behind_the_state_is_refused_with_the_index(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.signer.sign_now()
        await w.note(tenant_id)
        await w.signer.sign_now()
        sql(w, "DELETE FROM thane_entries WHERE id = 1")  # the root log's second leaf
        sql(w, "DELETE FROM thane_checkpoints WHERE log = 0 AND size = 2")
    async with world(tmp_path) as w:
        with pytest.raises(LedgerBehind, match="entries 1 to 1 are missing") as caught:
            await w.signer.check_store_against_state()
        assert "thane verify" in caught.value.hint
        assert caught.value.extra["index"] == 1
        with pytest.raises(LedgerBehind):
            await w.signer.sign_now()


async def test_a_tenants_log_that_was_cut_is_refused_with_its_index(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 3)
        await w.signer.sign_now()
        sql(w, "DELETE FROM thane_entries WHERE id = (1 << 40) + 3")
    async with world(tmp_path) as w:
        with pytest.raises(LedgerBehind, match="entries 3 to 3 are missing") as caught:
            await w.signer.check_store_against_state()
        assert caught.value.extra["tenant"] == tenant_id


async def test_an_old_copy_of_the_store_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.signer.sign_now()
    old = (tmp_path / "store.db").read_bytes()
    async with world(tmp_path) as w:
        await w.note(tenant_id)
        await w.signer.sign_now()
    (tmp_path / "store.db").write_bytes(old)
    async with world(tmp_path) as w:
        with pytest.raises(LedgerBehind):
            await w.signer.check_store_against_state()
        await w.note(tenant_id, "another history")
        with pytest.raises(LedgerBehind):
            await w.signer.sign_now()


async def test_another_history_of_the_same_length_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.signer.sign_now()
    old = {p.name: p.read_bytes() for p in (tmp_path / "store.db", tmp_path / "keys" / "signer-state")}
    async with world(tmp_path) as w:
        await w.note(tenant_id)
        await w.signer.sign_now()
    state = (tmp_path / "keys" / "signer-state").read_bytes()
    (tmp_path / "store.db").write_bytes(old["store.db"])
    (tmp_path / "keys" / "signer-state").write_bytes(old["signer-state"])
    async with world(tmp_path) as w:  # with the old state, another history can be signed ...
        await w.note(tenant_id, "another history")
        await w.signer.sign_now()
    (tmp_path / "keys" / "signer-state").write_bytes(state)
    async with world(tmp_path) as w:  # ... and the newer state, wherever it was kept, refuses it
        with pytest.raises(LedgerForked, match="root log"):
            await w.signer.check_store_against_state()


async def test_entries_changed_while_the_server_was_down_are_not_signed_over(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 3)
        await w.signer.sign_now()
        sql(w, "UPDATE thane_entries SET hash = randomblob(32) WHERE id = (1 << 40) + 2")
    async with world(tmp_path) as w:
        await w.signer.check_store_against_state()
        await w.note(tenant_id)
        with pytest.raises(LedgerForked, match=tenant_id):
            await w.signer.sign_now()
        assert (await w.engine.checkpoints(tenant_id))[0].size == 4


async def test_entries_changed_under_a_running_server_stop_the_signer(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 3)
        await w.signer.sign_now()
        sql(w, "UPDATE thane_entries SET hash = randomblob(32) WHERE id = (1 << 40) + 2")
        for _ in range(2):
            await w.note(tenant_id)
            with pytest.raises(LedgerForked):
                await w.signer.sign_now()
        assert (await w.engine.checkpoints(tenant_id))[0].size == 5  # the round that found it; none after


async def test_leaves_added_to_the_root_log_without_a_signature_are_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.tenant()
        await w.signer.sign_now()
        leaf = b"a leaf of somebody's own\n"
        sql(w, "INSERT INTO thane_entries (id, leaf, hash) VALUES (1, ?, ?)", leaf.decode(), leaf_hash(leaf))
    async with world(tmp_path) as w:
        with pytest.raises(LedgerForked, match="only 1 of them were signed"):
            await w.signer.check_store_against_state()


# -- the state -----------------------------------------------------------------------------------


async def test_without_state_the_newest_checkpoint_is_believed_once_verified(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.signer.sign_now()
    state = tmp_path / "keys" / "signer-state"
    kept = state.read_text()
    state.unlink()
    async with world(tmp_path) as w:
        with caplog.at_level(logging.WARNING):
            await w.signer.check_store_against_state()
        assert "no signer state" in caplog.text
        assert state.read_text() == kept
        assert state.stat().st_mode & 0o777 == 0o600
        await w.note(tenant_id)
        assert len(await w.signer.sign_now()) == 2
        forged = sign_checkpoint(Signer(LEDGER, b"x" * 32), 2, b"r" * 32)
        sql(w, "UPDATE thane_checkpoints SET note = ? WHERE log = 0 AND size = 2", forged)
    state.unlink()
    async with world(tmp_path) as w:
        with pytest.raises(NoteInvalid):
            await w.signer.check_store_against_state()


async def test_a_new_store_starts_without_state(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.signer.check_store_against_state()
        assert await w.signer.state() is None
        assert await w.signer.sign_now() == []


@pytest.mark.parametrize("text", ["", "nonsense", "\x00\xff"])
async def test_a_spoilt_state_is_refused_and_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    async with world(tmp_path) as w:
        await w.tenant()
        await w.signer.sign_now()
    (tmp_path / "keys" / "signer-state").write_bytes(text.encode("latin-1"))
    async with world(tmp_path) as w:
        with pytest.raises(KeyFileCorrupt, match="is no checkpoint") as caught:
            await w.signer.check_store_against_state()
        assert "newest" in caught.value.hint


async def test_a_crash_between_the_batch_and_the_state_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.signer.sign_now()
        before = await w.signer.state()

        def full(*args: object, **options: object) -> None:
            raise StorageFull("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(keyfiles, "write", full)
            await w.note(tenant_id)
            with pytest.raises(StorageFull):
                await w.signer.sign_now()
        assert await w.signer.state() == before
    async with world(tmp_path) as w:
        await w.signer.check_store_against_state()
        newest = (await w.engine.checkpoints(ROOT_LOG))[0]
        assert (newest.size, await w.signer.state()) == (2, newest.note)
        await w.note(tenant_id)
        assert len(await w.signer.sign_now()) == 2


async def test_a_tenants_note_opens_with_the_installations_key(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        (made, _) = await w.signer.sign_now()
        checkpoint = open_checkpoint(made.note, [w.signer.verifier], origin=f"{LEDGER}/{tenant_id}")
        assert checkpoint.size == 1
