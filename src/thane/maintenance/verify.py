"""`thane verify`: is the store what its ledger says, and the ledger what was signed?

Recomputes every leaf hash, every tile, the root at every checkpoint, the root log against
the tenants' notes, the signatures; every entry's heads, bodies and details against its
leaf; every row with history against its last head; counters against their sources; and
what modules add. It only reads, at sizes fixed at the start, through the store port; so it
works beside a running owner.

What it cannot see: entries after the last checkpoint that were cut off together with their
rows; a whole ledger made anew by someone who has the signing key, unless a checkpoint that
was kept elsewhere is given (`kept`). Blind indexes, text indexes, secret fields and rows
without history (output chunks, samples, sessions, jobs) are in no digest, nor is the audit
projection, which a rebuild makes anew from the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Container, Sequence

from thane.kernel.jobs.checks import CounterCheck, TenantCheck
from thane.kernel.ledger.errors import NoteInvalid
from thane.kernel.ledger.note import Checkpoint, Verifier, open_note
from thane.kernel.ledger.signing import tenant_of, tenant_origin
from thane.kernel.records.engine import ROOT_LOG, Engine
from thane.kernel.records.store import Records
from thane.maintenance.findings import Findings, Progress, Report
from thane.maintenance.helpers import WORTH_HELP, Help, Helpers
from thane.maintenance.verify_rows import RowPass, check_counter
from thane.maintenance.verify_trees import Lasts, TreePass

__all__ = ["Report", "verify"]

_ALL_CHECKPOINTS = 100_000_000
Hook = CounterCheck | TenantCheck


async def verify(
    records: Records,
    key: Verifier | None,
    hooks: Sequence[Hook] = (),
    progress: Progress | None = None,
    *,
    kept: Sequence[str] = (),
    help: Help | None = None,
) -> Report:
    """Verify the whole store. Without `key` no signature is checked, and the report says so.

    `help`: with it a large store is checked by several processes.
    `kept`: signed checkpoints from outside the store (the signer's state, a witness). What
    is wrong is in the report; an exception means that the store could not be read at all.
    """
    started = time.monotonic()
    findings = Findings(progress)
    helpers = Helpers(records.engine, records.registry, help)
    whole = _Verification(records, key, hooks, findings, helpers)
    try:
        await whole.run(kept)
    finally:
        helpers.close()
    return Report(
        tenants=len(whole.sizes),
        entries=findings.entries,
        rows=findings.rows,
        checkpoints=findings.checkpoints,
        blanked=findings.blanked,
        signatures_checked=key is not None,
        seconds=time.monotonic() - started,
        problems=tuple(findings.problems),
        found=findings.found,
    )


class _Verification:
    def __init__(
        self,
        records: Records,
        key: Verifier | None,
        hooks: Sequence[Hook],
        findings: Findings,
        helpers: Helpers,
    ) -> None:
        self.sizes: dict[str, int] = {}
        self._records = records
        self._engine: Engine = records.engine
        self._key = key
        self._counters = [h for h in hooks if isinstance(h, CounterCheck)]
        self._checks = [h for h in hooks if isinstance(h, TenantCheck)]
        self._watched = frozenset(name for check in self._checks for name in check.operations)
        self._findings = findings
        self._helpers = helpers
        # Per tenant, what the root log says: size -> the tree's root then.
        self._said: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
        self._kept: defaultdict[str, list[Checkpoint]] = defaultdict(list)
        # Tenants' checkpoints that were signed after the root log was read.
        self._newer: list[tuple[str, Checkpoint]] = []
        self._name = "" if key is None else key.name

    async def run(self, kept: Sequence[str]) -> None:
        for note in kept:
            checkpoint = self._opened(note, ROOT_LOG, "a kept checkpoint")
            if checkpoint is not None:
                self._kept[tenant_of(self._name, checkpoint.origin) or ROOT_LOG].append(checkpoint)
        root_size = await self._engine.log_size(ROOT_LOG)
        await self._count(root_size)
        await self._root_log(root_size)
        if sum(self.sizes.values()) >= WORTH_HELP:
            self._helpers.start()
        unscoped: Lasts = defaultdict(dict)
        for tenant_id, size in self.sizes.items():
            await self._tenant(tenant_id, size, unscoped)
        await self._rows(None, unscoped)
        await self._late_leaves(root_size)

    async def _count(self, root_size: int) -> None:
        """What there is to do, for the progress; sizes are fixed here."""
        total = root_size
        for tenant_id in await self._engine.logs():
            size = self.sizes[tenant_id] = await self._engine.log_size(tenant_id)
            total += size
        self._findings.total = total

    # -- the root log -----------------------------------------------------------------------

    async def _root_log(self, size: int) -> None:
        tree = TreePass(self._engine, ROOT_LOG, size, self._findings, self._helpers)
        for signed in await self._engine.checkpoints(ROOT_LOG, _ALL_CHECKPOINTS):
            self._findings.checkpoints += 1
            checkpoint = self._opened(signed.note, ROOT_LOG, f"the checkpoint of size {signed.size}")
            if checkpoint is None:
                continue
            if not self._name:
                self._name = checkpoint.origin
            self._fits(ROOT_LOG, checkpoint, signed.size, self._name)
            if checkpoint.size <= size:
                tree.want(checkpoint.size, checkpoint.root, f"its checkpoint of size {checkpoint.size}")
        for checkpoint in self._kept[ROOT_LOG]:
            tree.want(checkpoint.size, checkpoint.root, f"the kept checkpoint of size {checkpoint.size}")
        await tree.run()
        for index, leaf in enumerate(tree.leaves or ()):
            self._leaf_of_root(index, leaf, self.sizes)
        await self._unsigned_leaves(size)

    async def _unsigned_leaves(self, size: int) -> None:
        """A round writes its leaves and the checkpoint over them together."""
        newest = await self._engine.checkpoints(ROOT_LOG)
        signed = newest[0].size if newest else 0
        if signed < size:
            self._findings.problem(
                "root_unsigned", ROOT_LOG, f"no checkpoint is over its leaves from {signed} on", index=signed
            )

    def _leaf_of_root(self, index: int, leaf: bytes, logs: Container[str]) -> None:
        """A root leaf is the text of a checkpoint of one of the tenants' `logs`."""
        try:
            checkpoint = Checkpoint.parse(leaf.decode())
        except (NoteInvalid, UnicodeDecodeError) as fault:
            self._findings.problem("root_leaf", ROOT_LOG, f"the leaf is no checkpoint: {fault}", index=index)
            return
        tenant_id = tenant_of(self._name, checkpoint.origin)
        if tenant_id is None:
            self._findings.problem(
                "root_leaf", ROOT_LOG, f"the leaf is of a foreign log, {checkpoint.origin!r}", index=index
            )
            return
        said = self._said[tenant_id]
        if said.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
            self._findings.problem(
                "fork",
                ROOT_LOG,
                f"two different trees of {tenant_id} were signed at size {checkpoint.size}",
                index=index,
            )
        if tenant_id not in logs:
            self._findings.problem(
                "log_missing",
                ROOT_LOG,
                f"the log of {tenant_id}, signed here, is not in the store",
                index=index,
            )

    async def _late_leaves(self, root_size: int) -> None:
        """Checkpoints signed while we read: their leaves must have come since."""
        if not self._newer:
            return
        start = root_size
        while rows := await self._engine.entries(ROOT_LOG, start, 1000):
            logs = await self._engine.logs()  # tenants came meanwhile, too
            for row in rows:
                self._leaf_of_root(row.index, row.leaf, logs)
            start = rows[-1].index + 1
        for tenant_id, checkpoint in self._newer:
            if self._said[tenant_id].get(checkpoint.size) != checkpoint.root:
                self._unsaid(tenant_id, checkpoint)

    # -- tenants ----------------------------------------------------------------------------

    async def _tenant(self, tenant_id: str, size: int, unscoped: Lasts) -> None:
        tree = TreePass(self._engine, tenant_id, size, self._findings, self._helpers)
        tree.watch(self._watched)
        await self._want(tree, tenant_id, size)
        await tree.run()
        mine: Lasts = defaultdict(dict)
        for table, rows in tree.last.items():
            schema = self._records.registry.find(table)
            if schema is not None and schema.scoped:
                mine[table] = rows
            elif schema is not None:  # a table that is not declared any more has heads and no rows
                unscoped[table].update(rows)
        await self._rows(tenant_id, mine)
        for counter in self._counters:
            await check_counter(self._records, counter, tenant_id, self._findings)
        for check in self._checks:
            indexes = sorted(i for name in check.operations for i in tree.matched.get(name, ()))
            async for problem in check.run(self._records, tenant_id, indexes):
                self._findings.take(problem)
        await asyncio.sleep(0)

    async def _rows(self, tenant_id: str | None, last: Lasts) -> None:
        registry = self._records.registry
        await RowPass(
            self._engine, registry, tenant_id, last, self.sizes, self._findings, self._helpers
        ).run()

    async def _want(self, tree: TreePass, tenant_id: str, size: int) -> None:
        """All the roots the tenant's tree must have had, and each checkpoint against the root log."""
        said = self._said[tenant_id]
        for at, root in said.items():
            tree.want(at, root, f"the root log's note of size {at}")
        stored = set()
        for signed in await self._engine.checkpoints(tenant_id, _ALL_CHECKPOINTS):
            self._findings.checkpoints += 1
            stored.add(signed.size)
            what = f"the checkpoint of size {signed.size}"
            checkpoint = self._opened(signed.note, tenant_id, what)
            if checkpoint is None:
                continue
            self._fits(tenant_id, checkpoint, signed.size, tenant_origin(self._name, tenant_id))
            if checkpoint.size > size and checkpoint.size > max(said, default=0):
                self._newer.append((tenant_id, checkpoint))
                continue
            if said.get(checkpoint.size) == checkpoint.root:
                continue  # wanted already
            tree.want(checkpoint.size, checkpoint.root, what)
            if checkpoint.size > max(said, default=0):
                self._newer.append((tenant_id, checkpoint))
            else:
                self._unsaid(tenant_id, checkpoint)
        for at in said.keys() - stored:
            self._findings.problem(
                "checkpoint_missing",
                tenant_id,
                f"its checkpoint of size {at} is not in the store",
                index=at - 1,
            )
        for kept in self._kept[tenant_id]:
            tree.want(kept.size, kept.root, f"the kept checkpoint of size {kept.size}")

    def _unsaid(self, tenant_id: str, checkpoint: Checkpoint) -> None:
        self._findings.problem(
            "checkpoint_unsaid",
            tenant_id,
            f"the root log has no leaf for its checkpoint of size {checkpoint.size}",
            index=checkpoint.size - 1,
        )

    # -- notes ------------------------------------------------------------------------------

    def _opened(self, note: str, tenant_id: str, what: str) -> Checkpoint | None:
        """The checkpoint in a note, its signature checked if there is a key."""
        try:
            if self._key is None:
                return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
            text, _ = open_note(note, (self._key,))
            return Checkpoint.parse(text)
        except NoteInvalid as fault:
            self._findings.problem("checkpoint", tenant_id, f"{what} is not valid: {fault}")
            return None

    def _fits(self, tenant_id: str, checkpoint: Checkpoint, size: int, origin: str) -> None:
        """The row's own columns against the note in it."""
        if checkpoint.size != size or checkpoint.origin != origin:
            self._findings.problem(
                "checkpoint",
                tenant_id,
                f"the checkpoint stored for size {size} is of {checkpoint.origin!r} at {checkpoint.size}",
            )
