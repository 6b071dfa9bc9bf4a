"""Verification of one tree: every leaf, every head, every tile, the root at every checkpoint.

Reads entries at a size that was fixed before, so a running owner does not disturb. Runs that
`thane.maintenance.quick` finds right are only joined to what came before; all others are gone
through entry by entry, to name what is wrong. What it learns of the rows (their last head) is
handed to `verify_rows`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from thane.kernel.ledger.errors import LeafInvalid
from thane.kernel.ledger.leaf import Changes, Head, Leaf, Op, decode_leaf, sealed_digest
from thane.kernel.ledger.tree import (
    HASH_BYTES,
    TILE_WIDTH,
    FullTileReader,
    LeafHashReader,
    Tile,
    TreeState,
    leaf_hash,
)
from thane.kernel.records.engine import Engine, EntryRow
from thane.maintenance.findings import UNREADABLE, Findings
from thane.maintenance.helpers import Helpers
from thane.maintenance.quick import RUN, EntriesFound, EntriesWork, Last, joins, works_inside

PAGE = 1000
RowKey = tuple[str, str]
# By table, then by id.
Lasts = defaultdict[str, dict[str, Last]]


class Wanted(NamedTuple):
    """A root that somebody has signed or kept. `index` is the root log's leaf that says it, if one does."""

    root: bytes
    what: str


class TreePass:
    """Walks through one log once. `tenant_id` is empty for the root log, whose leaves are texts."""

    def __init__(
        self, engine: Engine, tenant_id: str, size: int, findings: Findings, helpers: Helpers
    ) -> None:
        self.tenant_id = tenant_id
        self.size = size
        self.last: Lasts = defaultdict(dict)
        self.matched: dict[str, list[int]] = {}
        self.leaves: list[bytes] | None = None if tenant_id else []
        self._engine = engine
        self._findings = findings
        self._helpers = helpers
        self._wanted: defaultdict[int, list[Wanted]] = defaultdict(list)
        self._watched: frozenset[str] = frozenset()
        self._tree = TreeState()
        self._time = 0
        self._broken = False  # an entry is missing: no root can be rebuilt behind it

    def want(self, size: int, root: bytes, what: str) -> None:
        """At `size` the tree must have had this root."""
        self._wanted[size].append(Wanted(root, what))

    def watch(self, operations: frozenset[str]) -> None:
        """Remember the indexes of these operations' entries in `matched`."""
        self._watched = operations

    async def run(self) -> None:
        """Check everything up to the size."""
        self._roots()
        if self.leaves is not None:
            await self._slowly(0, self.size)
        else:
            async for work, found in self._helpers.each(self._works()):
                if found is None or not self._joined(found):
                    await self._slowly(work.start, work.stop)
                    continue
                self._findings.entries += work.stop - work.start
                self._findings.step(work.stop - work.start)
                await self._tiles()
        self._truncated()

    def _works(self) -> Iterator[EntriesWork]:
        for start in range(0, self.size, RUN):
            stop = min(start + RUN, self.size)
            yield EntriesWork(
                tenant_id=self.tenant_id,
                start=start,
                stop=stop,
                sizes=works_inside(start, stop, self._wanted),
                watched=tuple(self._watched),
            )

    def _joined(self, found: EntriesFound) -> bool:
        """Take a run that is right in itself; False, and nothing is taken, if it does not follow."""
        if found.first_time < self._time:
            return False
        for step in found.steps:
            known = self.last[step.table].get(step.id)
            if not joins(known, step.created, step.previous, step.before):
                return False
        for step in found.steps:
            self.last[step.table][step.id] = step.last
        self._time = found.last_time
        self._findings.blanked += found.blanked
        for operation, index in found.matched:
            self.matched.setdefault(operation, []).append(index)
        if not self._broken:
            self._grow(found)
        return True

    def _grow(self, found: EntriesFound) -> None:
        """The tree, by whole tiles; roots that are wanted inside one are joined to what stands before it."""
        inside = sorted(found.roots)
        for tile in (*found.tiles, None):
            end = self._tree.size + (TILE_WIDTH if tile is not None else len(found.tail))
            while inside and inside[0] <= end:
                size = inside.pop(0)
                self._hold(size, self._tree.root_before(found.roots[size]))
            if tile is not None:
                self._tree.append_tile(tile)
                self._roots()
        for leaf in found.tail:
            self._tree.append(leaf)

    async def _slowly(self, start: int, stop: int) -> None:
        """Entry by entry."""
        for first in range(start, stop, PAGE):
            position, end = first, min(first + PAGE, stop)
            for row in await self._page(first, end - first):
                position = self._place(row, position)
            if position < end:
                self._missing(position, end)
            self._findings.step(end - first)
            await self._tiles()

    # -- reading ----------------------------------------------------------------------------

    async def _page(self, start: int, limit: int) -> list[EntryRow]:
        try:
            return await self._engine.entries(self.tenant_id, start, limit)
        except UNREADABLE as fault:
            if limit <= 1:
                self._problem("entry_unreadable", f"the entry cannot be read: {fault}", start)
                return []
        half = limit // 2
        return [*await self._page(start, half), *await self._page(start + half, limit - half)]

    def _place(self, row: EntryRow, expected: int) -> int:
        """Check a row and give the index that must come next."""
        if row.index < expected:
            return expected
        if row.index > expected:
            self._missing(expected, row.index)
        self._entry(row)
        return row.index + 1

    def _missing(self, start: int, stop: int) -> None:
        shown = f"entry {start} is" if stop == start + 1 else f"entries {start} to {stop - 1} are"
        self._problem("entry_missing", f"{shown} not in the store", start)
        self._broken = True

    # -- one entry --------------------------------------------------------------------------

    def _entry(self, row: EntryRow) -> None:
        self._findings.entries += 1
        digest = leaf_hash(row.leaf)
        if digest != row.leaf_hash:
            self._problem("leaf_hash", "the leaf was changed: it does not have the hash beside it", row.index)
            # From here on the stored hash is followed, so that this one entry is named and not all after it.
            digest = row.leaf_hash
        if not self._broken and len(digest) == HASH_BYTES:
            self._tree.append(digest)
            if self._tree.size in self._wanted:
                self._roots()
        else:
            self._broken = True
        if self.leaves is not None:
            self.leaves.append(row.leaf)
            return
        try:
            leaf = decode_leaf(row.leaf)
        except LeafInvalid as fault:
            self._problem("leaf", f"the leaf is not valid: {fault}", row.index)
            return
        self._leaf(row, leaf)
        self._contents(row, leaf)
        self._chain(row)

    def _leaf(self, row: EntryRow, leaf: Leaf) -> None:
        if leaf.seq != row.index:
            self._problem("leaf_order", f"the leaf at {row.index} calls itself number {leaf.seq}", row.index)
        if leaf.tenant != self.tenant_id:
            self._problem("leaf_tenant", f"the leaf belongs to the log of {leaf.tenant}", row.index)
        if leaf.time < self._time:
            self._problem("leaf_time", "the leaf is older than the one before it", row.index)
        self._time = max(self._time, leaf.time)
        if leaf.operation in self._watched:
            self.matched.setdefault(leaf.operation, []).append(row.index)

    def _contents(self, row: EntryRow, leaf: Leaf) -> None:
        """Heads against the leaf, bodies against the heads, details against the leaf."""
        if row.heads or leaf.changes.count:
            made = Changes.of([head.encode() for head in row.heads])
            if made != leaf.changes:
                self._problem(
                    "heads",
                    f"the {made.count} heads are not those the leaf names ({leaf.changes.count})",
                    row.index,
                )
        if len(row.bodies) != len(row.heads):
            self._problem(
                "bodies", f"there are {len(row.bodies)} bodies for {len(row.heads)} heads", row.index
            )
        for head, body in zip(row.heads, row.bodies, strict=False):
            if body:
                if sealed_digest(body) != head.body:
                    where = f"{head.schema} {head.id}"
                    self._problem("body", f"the sealed body of {where} was changed", row.index)
            elif head.body is not None:
                self._findings.blanked += 1
        if row.details is None:
            self._findings.blanked += leaf.details is not None
        elif sealed_digest(row.details) != leaf.details:
            self._problem("details", "the sealed details were changed", row.index)

    def _chain(self, row: EntryRow) -> None:
        """Each head continues the last one of its row."""
        for place, head in enumerate(row.heads):
            rows = self.last[head.schema]
            known = rows.get(head.id)
            wrong = _breaks(head, known)
            if wrong is not None:
                self._findings.problem(
                    "chain", self.tenant_id, wrong, index=row.index, row=f"{head.schema}/{head.id}"
                )
            body = row.bodies[place] if place < len(row.bodies) else b""
            rows[head.id] = Last(row.index, head.after, head.body is not None and not body)

    # -- roots and tiles --------------------------------------------------------------------

    def _roots(self) -> None:
        """Hold the tree as it is now against what was signed at this size."""
        if self._tree.size in self._wanted:
            self._hold(self._tree.size, self._tree.root())

    def _hold(self, size: int, root: bytes) -> None:
        for wanted in self._wanted.pop(size, ()):
            if wanted.root != root:
                self._problem(
                    "root",
                    f"the tree of the first {size} entries is not the one in {wanted.what}",
                    max(0, size - 1),
                )

    def _truncated(self) -> None:
        for size, wanted in sorted(self._wanted.items()):
            if size <= self.size:
                if self._broken:
                    self._problem(
                        "root", f"{wanted[0].what} cannot be checked: entries before it are missing", size - 1
                    )
                continue
            self._problem(
                "truncated",
                f"{wanted[0].what} is over {size} entries and the log has {self.size}: "
                f"entries {self.size} to {size - 1} are missing",
                self.size,
            )

    async def _tiles(self) -> None:
        """Stored tiles against those that the leaves make."""
        full = self._tree.take_tiles()
        if not full or self._broken:
            return

        def read(size: int, full_tile: FullTileReader, hashes: LeafHashReader) -> list[bytes]:
            del size, hashes
            return [full_tile(tile.level, tile.n) for tile in full]

        for made, stored in zip(full, await self._engine.with_tree(self.tenant_id, read), strict=True):
            if made.data != stored:
                self._bad_tile(made, stored)

    def _bad_tile(self, made: Tile, stored: bytes) -> None:
        if not stored:
            self._problem("tile", f"tile {made.level}/{made.n} is not in the store", None)
            return
        pairs = zip(range(0, len(made.data), HASH_BYTES), range(0, len(stored), HASH_BYTES), strict=False)
        place = next((a for a, b in pairs if made.data[a : a + HASH_BYTES] != stored[b : b + HASH_BYTES]), 0)
        first = (made.n * 256 + place // HASH_BYTES) << (8 * made.level)
        self._problem(
            "tile", f"tile {made.level}/{made.n} does not follow from the entries, from {first} on", first
        )

    def _problem(self, kind: str, message: str, index: int | None) -> None:
        self._findings.problem(kind, self.tenant_id, message, index=index)


def _breaks(head: Head, known: Last | None) -> str | None:
    """Why a head does not continue its row's history; None if it does."""
    if head.op is Op.CREATE:
        if known is not None and known.after is not None:
            return f"it is created, though entry {known.entry} has it already"
        return None if head.before is None and head.previous is None else "a new row has no version before it"
    if known is None or known.after is None:
        return f"there is a head ({head.op.value}) of a row that was not there"
    if head.previous != known.entry:
        return f"it names entry {head.previous} as its previous one, which is {known.entry}"
    if head.before != known.after:
        return f"the version it replaces is not the one that entry {known.entry} made"
    if (head.after is None) is not (head.op is Op.DELETE):
        return f"a head ({head.op.value}) has a digest after it, or lacks one"
    return None


async def touched(engine: Engine, tenant_id: str, start: int) -> set[RowKey]:
    """Rows that have a head in the entries from `start` on, which were written while we read."""
    found: set[RowKey] = set()
    while rows := await engine.entries(tenant_id, start, PAGE):
        found.update((head.schema, head.id) for row in rows for head in row.heads)
        start = rows[-1].index + 1
    return found
