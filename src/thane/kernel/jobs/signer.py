"""The signer: signs the trees as they grow, and never one that contradicts what was signed before.

Its last root checkpoint lies outside the store, in the key folder (`signer-state`), and is
written after each round's durable batch. So after a crash the state is at most one round
old, never ahead of the store; a store that is behind it has lost entries or was replaced.
Before a round the stored root log is proven, from its tiles, to continue the state; inside
the round it must be exactly what was proven. A tenant's tree is checked in the same way
against its last checkpoint before this process signs it for the first time, and after each
round. It must not decide who may lead: any process may sign, the lease only saves work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from thane.kernel.errors import LedgerBehind
from thane.kernel.feed import Feed
from thane.kernel.jobs.declare import Periodic, Tools
from thane.kernel.ledger.errors import NoteInvalid
from thane.kernel.ledger.note import Signer
from thane.kernel.ledger.signing import EMPTY, Head, LedgerForked, View, open_head, sign_round
from thane.kernel.ledger.tree import FullTileReader, LeafHashReader
from thane.kernel.records.engine import ROOT_LOG, Engine, LogSize, RootTree, Signed
from thane.kernel.sealing import keyfiles
from thane.kernel.sealing.errors import KeyFileCorrupt
from thane.kernel.sealing.keyring import KeyFolder

log = logging.getLogger(__name__)

STATE_FILE: Final = "signer-state"
# A round's own time comes on top; together they stay below a second.
INTERVAL_SECONDS = 0.8
UNRUNG_SECONDS = 5.0
WATCH_SECONDS = 5.0
_ROUNDS = 5


class _NotProven(Exception):
    """Inside a round: these trees are not what was proven before it. Nothing of the round is kept."""

    def __init__(self, tenants: Sequence[str], root: bool) -> None:
        super().__init__(f"{len(tenants)} trees are not checked yet")
        self.tenants = tenants
        self.root = root


class LedgerSigner:
    """Signs for one process: `check_store_against_state`, then `periodic` and `sign_now`, at last `close`."""

    def __init__(self, engine: Engine, folder: KeyFolder, feed: Feed) -> None:
        self._engine = engine
        self._folder = folder
        self._feed = feed
        self.signer = Signer(folder.ledger_name, folder.ledger_seed)
        self.verifier = self.signer.verifier
        self._root: Head | None = None  # proven in this process; None: not yet
        self._tenants: dict[str, Head] = {}
        self._signed_at = (-1, 0.0)
        self._refused: LedgerForked | None = None
        self._turn = asyncio.Lock()

    @property
    def vkey(self) -> str:
        """The key that verifiers are given."""
        return self.signer.vkey

    # -- what is kept outside the store -----------------------------------------------------

    async def state(self) -> str | None:
        """The root checkpoint that was last signed or seen here (a signed note); None on a new host."""

        def read() -> str | None:
            try:
                return keyfiles.read(self._folder.path, STATE_FILE).decode("utf-8", "replace")
            except FileNotFoundError:
                return None

        return await asyncio.to_thread(read)

    async def _keep(self, note: str) -> None:
        await asyncio.to_thread(keyfiles.write, self._folder.path, STATE_FILE, note.encode(), replace=True)

    async def check_store_against_state(self) -> None:
        """At start: the store holds everything that was signed, and continues it.

        LedgerBehind (with the index from which entries are missing), LedgerForked, or
        KeyFileCorrupt for a state that is not a checkpoint of ours. Without a state the
        newest signed checkpoint of the store is believed, once verified, and that is logged.
        """
        async with self._turn:
            await self._prove_root()
            for tenant_id in await self._engine.logs():
                await self._not_behind(tenant_id)

    async def observe(self) -> Head:
        """Check the newest root checkpoint in the store against the last one seen here, and keep it.

        For every process, also one that never signs: so each could lead, and none follows a fork.
        """
        async with self._turn:
            return await self._observe()

    # -- signing ----------------------------------------------------------------------------

    def periodic(self) -> tuple[Periodic, ...]:
        """The signer as jobs: one process signs, every process watches what was signed."""

        async def sign(tools: Tools) -> None:
            del tools
            await self._sign_if_rung()

        async def watch(tools: Tools) -> None:
            del tools
            await self.observe()

        return (
            Periodic(name="signer", seconds=INTERVAL_SECONDS, run=sign),
            Periodic(name="checkpoints", seconds=WATCH_SECONDS, run=watch, everywhere=True),
        )

    async def _sign_if_rung(self) -> None:
        """A round only if the bell has rung, or now and then: growth in another process rings none here."""
        now = asyncio.get_running_loop().time()
        if self._feed.generation == self._signed_at[0] and now - self._signed_at[1] < UNRUNG_SECONDS:
            return
        generation = self._feed.generation
        await self.sign_now()
        self._signed_at = (generation, now)

    async def sign_now(self) -> list[Signed]:
        """Run a round: the notes it made, the root log's last; none if no tree has grown.

        LedgerForked or LedgerBehind if the store is not what was signed; nothing is signed then.
        """
        async with self._turn:
            if self._refused is not None:
                raise self._refused
            if self._root is None:
                await self._prove_root()
            for _ in range(_ROUNDS):
                try:
                    signed = await self._engine.sign(self._round)
                except _NotProven as pending:
                    if pending.root:
                        await self._prove_root()
                    for tenant_id in pending.tenants:
                        await self._prove_tenant(tenant_id)
                    continue
                await self._after(signed)
                return signed
        raise LedgerBehind("the root log kept changing while a round was signed; another signer is at work")

    async def close(self) -> None:
        """Sign what has grown since the last round: what is committed is covered when a process ends."""
        await self.sign_now()

    def _round(self, grown: Sequence[LogSize], root: RootTree) -> list[Signed]:
        """Runs inside the store's batch, in its thread."""
        unchecked = [g.tenant_id for g in grown if g.tenant_id not in self._tenants]
        moved = self._root is None or (root.size, root.root()) != self._root
        if unchecked or moved:
            raise _NotProven(unchecked, moved)
        for tree in grown:
            if tree.size < self._tenants[tree.tenant_id].size:
                raise _behind(tree.tenant_id, tree.size, self._tenants[tree.tenant_id].size)
        return sign_round(self.signer, grown, root, Signed)

    async def _after(self, signed: Sequence[Signed]) -> None:
        """The batch is on the disk: remember it, and hold the trees against what was signed before."""
        if not signed:
            return
        self._root = open_head(signed[-1].note, self.verifier)
        await self._keep(signed[-1].note)
        try:
            for made in signed[:-1]:
                head = open_head(made.note, self.verifier, made.tenant_id)
                await self._prove(made.tenant_id, self._tenants[made.tenant_id], head)
                self._tenants[made.tenant_id] = head
        except LedgerForked as forked:
            self._refused = forked  # somebody wrote to the store under us: never sign again
            raise

    # -- proving ----------------------------------------------------------------------------

    async def _prove_root(self) -> None:
        """Prove that the stored root log continues the state and ends where it was last signed."""
        note = await self.state()
        if note is None:
            note = await self._adopt()
        known = EMPTY
        if note is not None:
            try:
                known = open_head(note, self.verifier)
            except NoteInvalid as fault:
                raise KeyFileCorrupt(
                    f"{self._folder.path / STATE_FILE} is no checkpoint of {self.verifier.name}: {fault}",
                    hint="Find out who changed it. Without the file the signer starts from the newest "
                    "checkpoint in the store.",
                ) from fault
        now, signed = known, EMPTY
        for _ in range(_ROUNDS):  # another signer may add to it between the two reads
            newest = await self._engine.checkpoints(ROOT_LOG)
            signed = open_head(newest[0].note, self.verifier) if newest else EMPTY
            now = await self._prove(ROOT_LOG, known, signed)
            if now == signed:
                break
        else:
            raise LedgerForked(
                f"the root log has {now.size} leaves, and only {signed.size} of them were signed"
            )
        if signed.size > known.size:
            await self._keep(newest[0].note)
        self._root = now

    async def _adopt(self) -> str | None:
        """A host without state: the newest signed checkpoint of the store, verified."""
        newest = await self._engine.checkpoints(ROOT_LOG)
        if not newest:
            return None
        open_head(newest[0].note, self.verifier)
        log.warning(
            "no signer state on this host: starting from the store's newest signed checkpoint",
            extra={"size": newest[0].size},
        )
        await self._keep(newest[0].note)
        return newest[0].note

    async def _observe(self) -> Head:
        newest = await self._engine.checkpoints(ROOT_LOG)
        if self._root is None or (newest and newest[0].size != self._root.size):
            await self._prove_root()
        return self._root or EMPTY

    async def _prove_tenant(self, tenant_id: str) -> None:
        """Before its first round here: the stored tree is the one whose last checkpoint was signed, grown."""
        newest = await self._engine.checkpoints(tenant_id)
        if not newest:
            self._tenants[tenant_id] = EMPTY
            return
        head = open_head(newest[0].note, self.verifier, tenant_id)
        await self._prove(tenant_id, head, None)
        self._tenants[tenant_id] = head

    async def _prove(self, tenant_id: str, known: Head, claimed: Head | None) -> Head:
        """The stored tree's head, proven to continue `known` and to have been `claimed` at that size."""
        what = f"the log of {tenant_id}" if tenant_id else "the root log"

        def work(size: int, full_tiles: FullTileReader, leaf_hashes: LeafHashReader) -> Head:
            needed = max(known.size, 0 if claimed is None else claimed.size)
            if size < needed:
                raise _behind(tenant_id, size, needed)
            view = View(size, full_tiles, leaf_hashes)
            view.must_continue(known, what)
            if claimed is not None:
                view.must_continue(claimed, what)
            return view.head

        return await self._engine.with_tree(tenant_id, work)

    async def _not_behind(self, tenant_id: str) -> None:
        newest = await self._engine.checkpoints(tenant_id)
        if newest and (size := await self._engine.log_size(tenant_id)) < newest[0].size:
            raise _behind(tenant_id, size, newest[0].size)


def _behind(tenant_id: str, size: int, signed: int) -> LedgerBehind:
    what = f"The log of {tenant_id}" if tenant_id else "The root log"
    return LedgerBehind(
        f"{what} has {size} entries, but {signed} were signed: entries {size} to {signed - 1} are missing",
        hint=f"Restore the newest copy of the store (it must hold entry {signed - 1}), then start again; "
        "`thane verify` shows what is there.",
        extra={"tenant": tenant_id, "index": size, "signed": signed},
    )
