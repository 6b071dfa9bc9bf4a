"""Trees against the reference roots of RFC 6962, and states against trees built afresh."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.errors import Corrupt
from thane.kernel.ledger import tree
from thane.kernel.ledger.tree import CompactRange, Tile, TileReader, TreeState

# Entries and roots of sizes 1 to 8 from the Certificate Transparency reference test data.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def hashes(count: int) -> list[bytes]:
    return [tree.leaf_hash(b"entry %d" % i) for i in range(count)]


class Store:
    """What a store keeps of a tree: leaf hashes and full tiles."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self.tiles: dict[tuple[int, int], bytes] = {}

    def put(self, tiles: list[Tile]) -> None:
        for tile in tiles:
            assert (tile.level, tile.n) not in self.tiles
            self.tiles[tile.level, tile.n] = tile.data

    def full_tile(self, level: int, n: int) -> bytes:
        return self.tiles[level, n]

    def leaf_hashes(self, start: int, stop: int) -> bytes:
        return b"".join(self.leaves[start:stop])

    def reader(self, size: int) -> TileReader:
        return TileReader(size, self.full_tile, self.leaf_hashes)

    def restored(self, size: int) -> TreeState:
        return TreeState.restore_from(size, self.full_tile, self.leaf_hashes)


def grown(count: int) -> tuple[TreeState, Store]:
    state, store = TreeState(), Store()
    for leaf in hashes(count):
        state.append(leaf)
        store.leaves.append(leaf)
        store.put(state.take_tiles())
    return state, store


def same(left: TreeState, right: TreeState) -> bool:
    def parts(state: TreeState) -> tuple[object, ...]:
        return (state.size, state.edge, state.pending, state.root())

    return parts(left) == parts(right)


def test_roots_are_those_of_the_reference() -> None:
    edge, state = CompactRange(), TreeState()
    assert edge.root() == state.root() == tree.root_of([]) == sha256(b"").digest() == tree.EMPTY_ROOT
    for size, root in enumerate(ROOTS, 1):
        edge.append(tree.leaf_hash(ENTRIES[size - 1]))
        state.append(tree.leaf_hash(ENTRIES[size - 1]))
        assert edge.root().hex() == state.root().hex() == tree.root_of(ENTRIES[:size]).hex() == root


def test_an_edge_survives_bytes_and_copies_are_independent() -> None:
    edge = CompactRange()
    for leaf in hashes(300):
        again = CompactRange(edge.size, edge.to_bytes())
        twin = edge.copy()
        before = edge.root()
        edge.append(leaf)
        again.append(leaf)
        assert again.root() == edge.root() != twin.root() == before
        assert len(edge.to_bytes()) == 32 * edge.size.bit_count()


@pytest.mark.parametrize(
    ("size", "edge"), [(1, b""), (2, b"x" * 64), (-1, b""), (1, b"x" * 31), (0, b"x" * 32)]
)
def test_an_edge_that_does_not_fit_its_size_is_refused(size: int, edge: bytes) -> None:
    with pytest.raises(ValueError):
        CompactRange(size, edge)


def test_tiles_hold_what_tlog_tiles_says() -> None:
    state, store = grown(66_000)
    leaves = store.leaves
    assert {level for level, _ in store.tiles} == {0, 1}
    assert sorted(n for level, n in store.tiles if level == 0) == list(range(257))
    assert [n for level, n in store.tiles if level == 1] == [0]
    assert store.tiles[0, 200] == b"".join(leaves[51_200:51_456])
    row = [tree.root_of_hashes(leaves[256 * i : 256 * i + 256]) for i in range(256)]
    assert store.tiles[1, 0] == b"".join(row)
    assert [len(level) // 32 for level in state.pending] == [66_000 % 256, 1, 1]
    assert state.pending[2] == tree.root_of_hashes(row)
    assert state.root() == tree.root_of_hashes(leaves)
    assert same(store.restored(66_000), state)


def test_a_restored_state_equals_the_one_that_kept_running() -> None:
    state, store = grown(0)
    for size in range(1, 1300):
        state.append(leaf := tree.leaf_hash(b"%d" % size))
        store.leaves.append(leaf)
        store.put(state.take_tiles())
        if size % 37 == 0 or size % 256 in (0, 1, 255):
            restored = store.restored(size)
            assert same(restored, state)
            assert restored.take_tiles() == []
    again = store.restored(1024)
    for leaf in store.leaves[1024:]:
        again.append(leaf)
    assert same(again, state)
    assert same(store.restored(0), TreeState())


@given(st.lists(st.tuples(st.sampled_from(["append", "fail", "take"]), st.integers(1, 300)), max_size=8))
def test_a_batch_that_failed_leaves_no_trace(steps: list[tuple[str, int]]) -> None:
    state, kept = TreeState(), TreeState()
    taken: list[Tile] = []
    expected: list[Tile] = []
    for what, count in steps:
        if what == "take":
            taken += state.take_tiles()
            expected += kept.take_tiles()
            continue
        before = state.snapshot()
        for i in range(count):
            leaf = tree.leaf_hash(b"%s %d" % (what.encode(), i))
            state.append(leaf)
            if what == "append":
                kept.append(leaf)
        if what == "fail":
            if count % 2:
                state.take_tiles()  # the commit failed after the tiles had been handed out
            state.restore(before)
        assert same(state, kept)
    assert taken + state.take_tiles() == expected + kept.take_tiles()


def test_snapshots_nest_and_a_stale_one_is_refused() -> None:
    state, _ = grown(250)
    outer = state.snapshot()
    root = state.root()
    for leaf in hashes(10):
        state.append(leaf)
    inner = state.snapshot()
    inner_root = state.root()
    for leaf in hashes(5):
        state.append(leaf)
    state.restore(inner)
    assert (state.size, state.root()) == (260, inner_root)
    state.restore(outer)
    assert (state.size, state.root()) == (250, root)
    state.append(hashes(1)[0])
    later = state.snapshot()
    state.restore(outer)
    with pytest.raises(ValueError, match="rolled back"):
        state.restore(later)


def test_a_copy_goes_its_own_way() -> None:
    state, _ = grown(255)
    twin = state.copy()
    assert same(twin, state)
    twin.append(hashes(1)[0])
    assert (state.size, state.take_tiles()) == (255, [])
    assert [(tile.level, tile.n) for tile in twin.take_tiles()] == [(0, 0)]


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_leaf_hash_of_another_length_is_refused(length: int) -> None:
    state, _ = grown(3)
    before = state.root()
    with pytest.raises(ValueError, match="32 bytes"):
        state.append(b"x" * length)
    assert (state.size, state.root()) == (3, before)


def test_partial_tiles_come_from_the_level_below() -> None:
    _, store = grown(70_000)
    reader = store.reader(70_000)
    # The example of the standard: 273 full tiles and widths 112, 17 and 1.
    assert [reader.width(0, n) for n in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [reader.width(1, n) for n in (0, 1, 2)] == [256, 17, 0]
    assert reader.width(2, 0) == 1
    assert reader(1, 1) == b"".join(
        tree.root_of_hashes(store.leaves[256 * i : 256 * i + 256]) for i in range(256, 273)
    )
    assert reader(2, 0) == tree.root_of_hashes(store.leaves[:65_536])
    assert reader(0, 273) == b"".join(store.leaves[69_888:])
    for level, n in ((0, 274), (3, 0), (-1, 0), (0, -1)):
        with pytest.raises(LookupError):
            reader(level, n)


def test_a_store_that_gives_too_little_or_too_much_is_corrupt() -> None:
    _, store = grown(600)
    store.tiles[0, 1] = store.tiles[0, 1][:-32]
    with pytest.raises(Corrupt, match="0/1"):
        store.restored(600)
    store.leaves.append(b"x" * 32)
    with pytest.raises(Corrupt, match="0/2"):
        TreeState.restore_from(600, store.full_tile, lambda start, stop: store.leaf_hashes(start, stop + 1))


def test_hashes_are_split_in_whole_ones_only() -> None:
    assert tree.split_hashes(b"a" * 32 + b"b" * 32) == [b"a" * 32, b"b" * 32]
    with pytest.raises(ValueError, match="33 bytes"):
        tree.split_hashes(b"a" * 33)


def test_a_small_tree_has_no_path_for_a_leaf_it_has_not() -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError):
            tree.inclusion_of([b"a", b"b", b"c"], index)
