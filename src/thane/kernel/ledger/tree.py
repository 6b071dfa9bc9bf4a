"""The Merkle tree of RFC 6962: hashes, the running edge of a growing tree, tiles to store.

Pure functions and small states on bytes; it knows nothing of leaves' contents, stores
or keys. What is kept of a tree are the leaf hashes, the full tiles of c2sp.org/tlog-tiles
(256 hashes each, all levels) and, to append without reading, a `TreeState`.

Words: a *leaf hash* is SHA-256(0x00 ‖ entry); *height* counts binary levels from the
leaves; a tile's *level* counts steps of eight heights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from thane.kernel.errors import Corrupt

HASH_BYTES: Final = 32
TILE_WIDTH: Final = 256
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES

# RFC 6962 2.1: the hash of an empty list is the hash of an empty string.
EMPTY_ROOT: Final = sha256(b"").digest()

#: (level, n) -> the bytes of full tile n at that level (TILE_BYTES long).
FullTileReader = Callable[[int, int], bytes]
#: (start, stop) -> the leaf hashes of that range, concatenated.
LeafHashReader = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry), 32 bytes (RFC 6962 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes (RFC 6962 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def split_hashes(data: bytes | bytearray) -> list[bytes]:
    """Concatenated 32-byte hashes as a list. Raises ValueError if the length is no multiple of 32."""
    if len(data) % HASH_BYTES:
        raise ValueError(f"{len(data)} bytes are no whole number of {HASH_BYTES}-byte hashes")
    return [bytes(data[at : at + HASH_BYTES]) for at in range(0, len(data), HASH_BYTES)]


def _level_up(hashes: list[bytes]) -> list[bytes]:
    """The next level of a tree. An odd last node moves up as it is, which gives RFC 6962's shape."""
    above = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
    if len(hashes) & 1:
        above.append(hashes[-1])
    return above


def root_of_hashes(hashes: list[bytes]) -> bytes:
    """The RFC 6962 root over leaf (or subtree) hashes; EMPTY_ROOT for none."""
    if not hashes:
        return EMPTY_ROOT
    while len(hashes) > 1:
        hashes = _level_up(hashes)
    return hashes[0]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The RFC 6962 root over entries (not hashes), for small trees held in memory, as `changes.root`."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def inclusion_of(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of `leaves[index]` in the tree `root_of(leaves)`, sibling of the leaf first.

    Raises IndexError if there is no such leaf. `proof.verify_inclusion` checks it.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"no leaf {index} among {len(leaves)}")
    path: list[bytes] = []
    hashes = [leaf_hash(leaf) for leaf in leaves]
    while len(hashes) > 1:
        sibling = index ^ 1
        if sibling < len(hashes):
            path.append(hashes[sibling])
        hashes = _level_up(hashes)
        index >>= 1
    return path


class CompactRange:
    """The roots of the perfect subtrees that cover [0, size), largest first: all that an append needs.

    At most 64 hashes. One append costs one node hash on average.
    """

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, edge: bytes = b"") -> None:
        """`edge` is what `to_bytes` gave for `size`. Raises ValueError if the two do not fit."""
        hashes = split_hashes(edge)
        if size < 0 or len(hashes) != size.bit_count():
            raise ValueError(f"an edge of {len(hashes)} hashes does not belong to a tree of {size} entries")
        self.size = size
        self._hashes = hashes

    def to_bytes(self) -> bytes:
        """The hashes, concatenated, largest subtree first: 32 bytes for each bit set in `size`."""
        return b"".join(self._hashes)

    def copy(self) -> CompactRange:
        twin = CompactRange.__new__(CompactRange)
        twin.size = self.size
        twin._hashes = self._hashes.copy()
        return twin

    def append(self, leaf: bytes, emit: Callable[[int, bytes], None] | None = None, height: int = 0) -> None:
        """Adds one leaf hash. `emit(level, hash)` gets each new hash that belongs in a tile of level ≥ 1.

        With `height` it is the root of a perfect subtree of so many levels, and the size so far is a
        multiple of that subtree's.
        """
        hashes = self._hashes
        added = 1 << height
        rest = self.size >> height
        node = leaf
        while rest & 1:
            node = sha256(b"\x01" + hashes.pop() + node).digest()
            rest >>= 1
            height += 1
            if emit is not None and height & 7 == 0:
                emit(height >> 3, node)
        hashes.append(node)
        self.size += added

    def root_before(self, rest: bytes) -> bytes:
        """The root if there followed a tree, smaller than any subtree here, that has the root `rest`."""
        for left in reversed(self._hashes):
            rest = node_hash(left, rest)
        return rest

    def root(self) -> bytes:
        """The RFC 6962 root of the tree so far; EMPTY_ROOT at size 0."""
        hashes = self._hashes
        if not hashes:
            return EMPTY_ROOT
        node = hashes[-1]
        for left in reversed(hashes[:-1]):
            node = node_hash(left, node)
        return node


class Tile(NamedTuple):
    """A full tile: tile `n` of `level`, `data` of 256 hashes (8,192 bytes). Written once, never changed."""

    level: int
    n: int
    data: bytes


class Snapshot(NamedTuple):
    """Where a `TreeState` stood. Opaque to everyone but `TreeState`."""

    size: int
    edge: tuple[bytes, ...]
    pending: tuple[tuple[bytearray, int], ...]
    tiles: tuple[Tile, ...]


class TreeState:
    """A growing tree: its edge, the hashes of tiles not yet full, the full tiles not yet stored.

    The committer of a store holds one per tenant. `append` in a batch, `take_tiles`
    before the commit; `snapshot` before a savepoint or a batch and `restore` when it
    fails. Memory: at most 8 KB per level.
    """

    __slots__ = ("_edge", "_pending", "_tiles")

    def __init__(self) -> None:
        """The empty tree. See `restore_from` for one that has entries."""
        self._edge = CompactRange()
        self._pending: list[bytearray] = [bytearray()]
        self._tiles: list[Tile] = []

    @property
    def size(self) -> int:
        """Number of leaves; also the index that the next one gets."""
        return self._edge.size

    @property
    def edge(self) -> bytes:
        """`CompactRange.to_bytes` of this tree, to be stored next to the size."""
        return self._edge.to_bytes()

    @property
    def pending(self) -> tuple[bytes, ...]:
        """Per level, the hashes of its partial tile, concatenated (0 to 255 of them)."""
        return tuple(bytes(hashes) for hashes in self._pending)

    def root(self) -> bytes:
        """The RFC 6962 root; EMPTY_ROOT at size 0. About one node hash per bit set in `size`."""
        return self._edge.root()

    def append(self, leaf: bytes) -> None:
        """Adds one leaf hash (32 bytes). Raises ValueError on another length: the tree would be lost."""
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"a leaf hash has {HASH_BYTES} bytes, not {len(leaf)}")
        self._add(0, leaf)
        self._edge.append(leaf, self._add)

    def append_tile(self, root: bytes) -> None:
        """Adds 256 leaves by the root over them. Raises ValueError if the last tile here is not full.

        Their own tile is then not among `take_tiles`; those above it are.
        """
        if len(root) != HASH_BYTES or self._pending[0]:
            raise ValueError(f"a tile of {TILE_WIDTH} leaves cannot be added to a tree of {self.size}")
        self._add(1, root)
        self._edge.append(root, self._add, 8)

    def root_before(self, rest: bytes) -> bytes:
        """The root if fewer than 256 leaves that have the root `rest` came next; the last tile is full."""
        return self._edge.root_before(rest)

    def _add(self, level: int, node: bytes) -> None:
        if level == len(self._pending):
            self._pending.append(bytearray())
        hashes = self._pending[level]
        hashes += node
        if len(hashes) == TILE_BYTES:
            # `size` is still that before the leaf which completed this tile, so it lies within it.
            self._tiles.append(Tile(level, self._edge.size >> (8 * level + 8), bytes(hashes)))
            # A new object, not `clear()`: a snapshot may hold the old one, to cut it back.
            self._pending[level] = bytearray()

    def take_tiles(self) -> list[Tile]:
        """The tiles that became full since the last call; the caller stores them with the entries."""
        tiles = self._tiles
        self._tiles = []
        return tiles

    def snapshot(self) -> Snapshot:
        """Remembers this state, in about two microseconds; no hash is copied.

        Snapshots nest: restoring one makes those taken after it worthless.
        """
        edge = self._edge
        pending = tuple([(hashes, len(hashes)) for hashes in self._pending])
        return Snapshot(edge.size, tuple(edge._hashes), pending, tuple(self._tiles))

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to `snapshot`; everything appended or taken since then is forgotten.

        Raises ValueError for a snapshot taken after one that was restored already.
        """
        if any(len(hashes) < length for hashes, length in snapshot.pending):
            raise ValueError("this snapshot is of a state that was rolled back")
        for hashes, length in snapshot.pending:
            del hashes[length:]
        self._edge.size = snapshot.size
        self._edge._hashes = list(snapshot.edge)
        self._pending = [hashes for hashes, _ in snapshot.pending]
        self._tiles = list(snapshot.tiles)

    def copy(self) -> TreeState:
        """An independent twin."""
        twin = TreeState()
        twin._edge = self._edge.copy()
        twin._pending = [hashes.copy() for hashes in self._pending]
        twin._tiles = self._tiles.copy()
        return twin

    @classmethod
    def restore_from(
        cls, size: int, full_tile_reader: FullTileReader, leaf_hash_reader: LeafHashReader
    ) -> TreeState:
        """The state of a stored tree, from its full tiles and the leaf hashes after the last full one.

        Reads at most 255 tiles per level. Compare `edge` with the stored one: the two were
        written apart. Raises Corrupt if a reader gives fewer or more bytes than `size` says.
        """
        tile = TileReader(size, full_tile_reader, leaf_hash_reader)
        state = cls()
        edge: list[bytes] = []
        level = 0
        while level == 0 or size >> (8 * level):
            width = (size >> (8 * level)) % TILE_WIDTH
            data = tile(level, size >> (8 * level + 8)) if width else b""
            if level:
                state._pending.append(bytearray(data))
            else:
                state._pending[0] += data
            edge = _perfect_roots(split_hashes(data)) + edge
            level += 1
        state._edge = CompactRange(size, b"".join(edge))
        return state


def _perfect_roots(hashes: list[bytes]) -> list[bytes]:
    """The compact range over fewer than 256 hashes: one root per bit set in their number."""
    roots = []
    start = 0
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        if len(hashes) & bit:
            roots.append(root_of_hashes(hashes[start : start + bit]))
            start += bit
    return roots


#: Roots over full tiles by (level, n). They never change, so one may be kept as long as its log.
TileRoots = dict[tuple[int, int], bytes]


class TileReader:
    """Every tile of a tree of `size` entries, partial ones made from the level below.

    Only full tiles are stored, so this is what proofs and the HTTP tiles read through.
    Keeps what it has read: make one per request. Call it as `reader(level, n)`. A partial tile
    stands on up to 255 full ones, each of 255 hashes: with `roots` they are read once.
    """

    def __init__(
        self,
        size: int,
        full_tile: FullTileReader,
        leaf_hashes: LeafHashReader,
        roots: TileRoots | None = None,
    ) -> None:
        self._roots: TileRoots = {} if roots is None else roots
        self.size = size
        self._full_tile = full_tile
        self._leaf_hashes = leaf_hashes
        self._kept: dict[tuple[int, int], bytes] = {}

    def width(self, level: int, n: int) -> int:
        """Number of hashes in that tile at this size: 0 (there is none) to 256."""
        if level < 0 or n < 0:
            return 0
        return max(0, min(TILE_WIDTH, (self.size >> (8 * level)) - n * TILE_WIDTH))

    def _root(self, level: int, n: int) -> bytes:
        root = self._roots.get((level, n))
        if root is None:
            root = root_of_hashes(split_hashes(self(level, n)))
            if self.width(level, n) == TILE_WIDTH:
                self._roots[level, n] = root
        return root

    def __call__(self, level: int, n: int) -> bytes:
        """The tile's hashes, concatenated. Raises LookupError if this tree has no such tile, Corrupt if
        the store gives another number of bytes than the tree's size calls for."""
        kept = self._kept.get((level, n))
        if kept is not None:
            return kept
        width = self.width(level, n)
        first = n * TILE_WIDTH
        if width == 0:
            raise LookupError(f"a tree of {self.size} entries has no tile {level}/{n}")
        if width == TILE_WIDTH:
            data = self._full_tile(level, n)
        elif level == 0:
            data = self._leaf_hashes(first, first + width)
        else:
            data = b"".join(self._root(level - 1, first + i) for i in range(width))
        if len(data) != width * HASH_BYTES:
            raise Corrupt(
                f"tile {level}/{n} of a tree of {self.size} entries has {len(data)} bytes, "
                f"not {width * HASH_BYTES}"
            )
        self._kept[level, n] = data
        return data
