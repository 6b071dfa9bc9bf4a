"""The quick half of a verification: runs of entries and of rows, found right or not found right.

These functions say of a whole run that everything in it is as it must be, and hand over what
the rest of the verification needs of it; or they say nothing, and the run is then gone through
one by one by `verify_trees` and `verify_rows`, which name what is wrong. So nothing here may
be more lenient than those. They share nothing, so several processes can work at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

import msgspec

from thane.kernel.ledger.leaf import LEAF_VERSION, NO_CHANGES, Head, Leaf, Op
from thane.kernel.ledger.tree import (
    TILE_WIDTH,
    CompactRange,
    FullTileReader,
    LeafHashReader,
    root_of_hashes,
)
from thane.kernel.records.bare import bare_digest, bare_fields
from thane.kernel.records.engine import BareEntry, Engine
from thane.kernel.records.schema import Registry
from thane.maintenance.findings import UNREADABLE

# Entries of a run: whole tiles.
RUN = 32 * TILE_WIDTH

_leaf = msgspec.json.Decoder(Leaf).decode
_heads = msgspec.json.Decoder(list[Head]).decode
_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Last(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest head of a row: its entry, the digest after (None: deleted), whether its body is blanked."""

    entry: int
    after: str | None
    blanked: bool


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a run of entries did to one row: how its first head there joins on, and the last one."""

    table: str
    id: str
    created: bool
    previous: int | None
    before: str | None
    last: Last


class EntriesWork(msgspec.Struct, frozen=True, kw_only=True):
    """A run to check. `sizes`: of the tree, inside the run and not at a tile's end, whose root is wanted."""

    tenant_id: str
    start: int
    stop: int
    sizes: tuple[int, ...]
    watched: tuple[str, ...]


class EntriesFound(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is right in itself. `tiles` are the roots over its full tiles, `tail` the leaf hashes
    after the last of them, `roots` by wanted size those over the leaves since the tile's first."""

    tiles: list[bytes]
    tail: list[bytes]
    roots: dict[int, bytes]
    first_time: int
    last_time: int
    blanked: int
    matched: list[tuple[str, int]]
    steps: list[Step]


class RowsWork(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table (of one tenant if given) with ids past `after`, up to `until`."""

    table: str
    tenant_id: str | None
    after: str
    until: str | None


class RowsFound(msgspec.Struct, frozen=True, kw_only=True):
    """For each row, in order of id: the entry that it names as its last, and its digest (hex)."""

    ids: list[str]
    entries: list[int]
    digests: list[str]


async def quick_entries(engine: Engine, work: EntriesWork) -> EntriesFound | None:
    """A run of entries; None if it must be gone through one by one."""
    try:
        count = work.stop - work.start
        page = await engine.bare_entries(work.tenant_id, work.start, count)
        if len(page) != count:
            return None
        found = _entries(page, work)
        stored = await _tiles(engine, work, count // TILE_WIDTH)
    except UNREADABLE:
        return None
    if found is None:
        return None
    hashes = [entry[2] for entry in page]
    roots: dict[int, bytes] = {}
    made = []
    for n, tile in enumerate(stored):
        leaves = hashes[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]
        if b"".join(leaves) != tile:
            return None
        made.append(_tile_root(leaves, work.start + n * TILE_WIDTH, work.sizes, roots))
    tail = hashes[len(stored) * TILE_WIDTH :]
    _tile_root(tail, work.start + len(stored) * TILE_WIDTH, work.sizes, roots)
    return EntriesFound(
        tiles=made,
        tail=tail,
        roots=roots,
        first_time=found.first_time,
        last_time=found.last_time,
        blanked=found.blanked,
        matched=found.matched,
        steps=found.ordered(),
    )


async def _tiles(engine: Engine, work: EntriesWork, count: int) -> list[bytes]:
    first = work.start // TILE_WIDTH

    def read(size: int, full_tile: FullTileReader, hashes: LeafHashReader) -> list[bytes]:
        del size, hashes
        return [full_tile(0, n) for n in range(first, first + count)]

    return await engine.with_tree(work.tenant_id, read)


def _tile_root(leaves: list[bytes], start: int, sizes: Sequence[int], roots: dict[int, bytes]) -> bytes:
    """The root over a tile's leaves; on the way those over its first leaves, where they are wanted."""
    wanted = {size for size in sizes if start < size <= start + len(leaves)}
    if not wanted:
        return root_of_hashes(leaves)
    part = CompactRange()
    for leaf in leaves:
        part.append(leaf)
        if start + part.size in wanted:
            roots[start + part.size] = part.root()
    return part.root()


class _Run:
    """What a run's entries come to."""

    def __init__(self) -> None:
        self.first_time = 0
        self.last_time = 0
        self.blanked = 0
        self.matched: list[tuple[str, int]] = []
        self.firsts: dict[tuple[str, str], Head] = {}
        self.lasts: dict[tuple[str, str], Last] = {}

    def ordered(self) -> list[Step]:
        return [
            Step(table, id, head.op is Op.CREATE, head.previous, head.before, self.lasts[table, id])
            for (table, id), head in self.firsts.items()
        ]


def _entries(page: Sequence[BareEntry], work: EntriesWork) -> _Run | None:
    """Each entry against itself and the one before it; None at the first that is not right."""
    run = _Run()
    watched = frozenset(work.watched)
    expected, time = work.start, 0
    for index, text, digest, heads, bodies, details in page:
        data = text.encode()
        if index != expected or sha256(b"\x00" + data).digest() != digest:
            return None
        leaf = _leaf(data)
        if leaf.seq != index or leaf.tenant != work.tenant_id or leaf.time < time:
            return None
        if leaf.v != LEAF_VERSION or _encode(leaf) != data:
            return None
        if details is None:
            run.blanked += leaf.details is not None
        elif sha256(details).hexdigest() != leaf.details:
            return None
        if heads is None:
            if leaf.changes != NO_CHANGES or bodies:
                return None
        elif not _changes(run, leaf, heads, bodies):
            return None
        if leaf.operation in watched:
            run.matched.append((leaf.operation, index))
        if expected == work.start:
            run.first_time = leaf.time
        expected, time = index + 1, leaf.time
    run.last_time = time
    return run


def _changes(run: _Run, leaf: Leaf, text: str, bodies: Sequence[bytes]) -> bool:
    """Heads as the leaf says, bodies as the heads say, and each head the next of its row."""
    made = _heads(text)
    count = len(made)
    if count != leaf.changes.count or count != len(bodies) or count == 0:
        return False
    # The text itself is hashed: if that is what the leaf names, it is the heads' canonical form.
    if count == 1:
        root = sha256(b"\x00" + text[1:-1].encode()).hexdigest()
    else:
        root = root_of_hashes([sha256(b"\x00" + raw).digest() for raw in _raw(text)]).hex()
    if root != leaf.changes.root:
        return False
    for head, body in zip(made, bodies, strict=True):
        if body:
            if sha256(body).hexdigest() != head.body:
                return False
        elif head.body is not None:
            run.blanked += 1
        key = (head.schema, head.id)
        known = run.lasts.get(key)
        if known is None:
            if key in run.firsts:
                return False
            run.firsts[key] = head
        elif not joins(known, head.op is Op.CREATE, head.previous, head.before):
            return False
        if (head.after is None) is not (head.op is Op.DELETE) and head.op is not Op.CREATE:
            return False
        run.lasts[key] = Last(leaf.seq, head.after, head.body is not None and not body)
    return True


def joins(known: Last | None, created: bool, previous: int | None, before: str | None) -> bool:
    """Whether a head continues its row's history."""
    if created:
        return (known is None or known.after is None) and before is None and previous is None
    return known is not None and known.after is not None and previous == known.entry and before == known.after


async def quick_rows(engine: Engine, registry: Registry, work: RowsWork) -> RowsFound | None:
    """Rows of a range of ids, with the digests that they have now; None if they cannot all be read."""
    schema = registry.get(work.table)
    digest = bare_digest(schema)
    fields = bare_fields(schema)
    at = fields.index("id")
    try:
        rows = await engine.bare_rows(schema, work.tenant_id, fields, work.after, work.until)
        return RowsFound(
            ids=[row[at] for row in rows],
            entries=[row[-1] for row in rows],
            digests=list(map(digest, rows)),
        )
    except UNREADABLE:
        return None


def ranges(ids: Iterable[str], rows: int) -> list[tuple[str, str | None]]:
    """All ids there can be, in ranges (after, until] that each hold about so many of these."""
    ends = ["", *sorted(ids)[rows - 1 :: rows], None]
    return [(after, until) for after, until in pairwise(ends)]  # type: ignore[misc]


def works_inside(start: int, stop: int, wanted: Mapping[int, Any]) -> tuple[int, ...]:
    """Sizes of the tree, past `start` and up to `stop`, whose root is wanted inside a tile."""
    return tuple(sorted(size for size in wanted if start < size <= stop and size % TILE_WIDTH))
