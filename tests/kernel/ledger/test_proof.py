"""Proofs: every one that is made holds, and no changed one does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.errors import Corrupt
from thane.kernel.ledger import tree
from thane.kernel.ledger.errors import ProofInvalid
from thane.kernel.ledger.proof import Prover, verify_consistency, verify_inclusion
from thane.kernel.ledger.tree import TileReader

COUNT = 1500
ENTRIES = [b"entry %d" % i for i in range(COUNT)]
LEAVES = [tree.leaf_hash(entry) for entry in ENTRIES]


def tiles(size: int) -> TileReader:
    def full(level: int, n: int) -> bytes:
        span = 256**level
        nodes = [LEAVES[i * span : (i + 1) * span] for i in range(n * 256, n * 256 + 256)]
        return b"".join(tree.root_of_hashes(node) for node in nodes)

    return TileReader(size, full, lambda start, stop: b"".join(LEAVES[start:stop]))


PROVER = Prover(tiles(COUNT))
ROOTS = [PROVER.root(size) for size in range(COUNT + 1)]

SIZES = [*range(1, 66), 127, 128, 129, 255, 256, 257, 300]


def test_roots_from_tiles_are_those_of_the_definition() -> None:
    for size in (0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 1023, 1024, 1499, 1500):
        assert ROOTS[size] == tree.root_of(ENTRIES[:size])


def test_every_entry_of_every_size_has_a_proof_that_holds() -> None:
    checked = 0
    for size in SIZES:
        for index in range(size):
            path = PROVER.inclusion(index, size)
            verify_inclusion(index, size, LEAVES[index], path, ROOTS[size])
            checked += 1
            if size < 40:
                assert tree.inclusion_of(ENTRIES[:size], index) == path
    assert checked == sum(SIZES)


def test_every_size_continues_every_smaller_one() -> None:
    for new in SIZES:
        for old in range(1, new + 1):
            verify_consistency(old, new, PROVER.consistency(old, new), ROOTS[old], ROOTS[new])


def test_a_prover_over_the_partial_tiles_of_its_own_size_makes_the_same_proofs() -> None:
    for size in (1, 255, 256, 257, 700, 1024, 1025):
        own = Prover(tiles(size))
        assert own.root(size) == ROOTS[size]
        for index in {0, size // 2, size - 1}:
            assert own.inclusion(index, size) == PROVER.inclusion(index, size)
        assert own.consistency(max(1, size // 3), size) == PROVER.consistency(max(1, size // 3), size)


@given(st.data())
def test_a_changed_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, COUNT))
    index = data.draw(st.integers(0, size - 1))
    path = PROVER.inclusion(index, size)
    verify_inclusion(index, size, LEAVES[index], path, ROOTS[size])
    spoilt, leaf, root, at = list(path), LEAVES[index], ROOTS[size], index
    what = data.draw(st.sampled_from(["bit", "drop", "add", "leaf", "root", "index", "swap"]))
    place = data.draw(st.integers(0, len(path) - 1))
    if what == "bit":
        spoilt[place] = flipped(path[place], data.draw(st.integers(0, 255)))
    elif what == "drop":
        del spoilt[place]
    elif what == "add":
        spoilt.insert(place, path[place])
    elif what == "leaf":
        leaf = flipped(leaf, data.draw(st.integers(0, 255)))
    elif what == "root":
        root = flipped(root, data.draw(st.integers(0, 255)))
    elif what == "index":
        at = (index + data.draw(st.integers(1, size - 1))) % size
    else:
        spoilt = [*path[1:], path[0]] if len(path) > 1 else [LEAVES[index]]
    with pytest.raises(ProofInvalid):
        verify_inclusion(at, size, leaf, spoilt, root)


@given(st.data())
def test_a_changed_consistency_proof_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, COUNT))
    old = data.draw(st.integers(1, new - 1))
    path = PROVER.consistency(old, new)
    verify_consistency(old, new, path, ROOTS[old], ROOTS[new])
    spoilt, old_root, new_root = list(path), ROOTS[old], ROOTS[new]
    what = data.draw(st.sampled_from(["bit", "drop", "add", "old", "new", "empty"]))
    place = data.draw(st.integers(0, len(path) - 1))
    if what == "bit":
        spoilt[place] = flipped(path[place], data.draw(st.integers(0, 255)))
    elif what == "drop":
        del spoilt[place]
    elif what == "add":
        spoilt.append(path[place])
    elif what == "old":
        old_root = flipped(old_root, data.draw(st.integers(0, 255)))
    elif what == "new":
        new_root = flipped(new_root, data.draw(st.integers(0, 255)))
    else:
        spoilt = []
    with pytest.raises(ProofInvalid):
        verify_consistency(old, new, spoilt, old_root, new_root)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_hashes_of_another_length_are_refused(length: int) -> None:
    bad = b"x" * length
    for leaf, path, root in (
        (bad, PROVER.inclusion(1, 2), ROOTS[2]),
        (LEAVES[1], [bad], ROOTS[2]),
        (LEAVES[1], PROVER.inclusion(1, 2), bad),
    ):
        with pytest.raises(ProofInvalid, match="32 bytes"):
            verify_inclusion(1, 2, leaf, path, root)
    with pytest.raises(ProofInvalid, match="32 bytes"):
        verify_consistency(1, 2, [bad], ROOTS[1], ROOTS[2])
    with pytest.raises(ProofInvalid, match="32 bytes"):
        verify_consistency(2, 2, [], bad, bad)


def test_a_single_entry_is_its_own_root() -> None:
    verify_inclusion(0, 1, LEAVES[0], [], LEAVES[0])
    with pytest.raises(ProofInvalid, match="longer"):
        verify_inclusion(0, 1, LEAVES[0], [LEAVES[1]], LEAVES[0])
    with pytest.raises(ProofInvalid, match="too short"):
        verify_inclusion(0, 2, LEAVES[0], [], LEAVES[0])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (0, -1)])
def test_an_entry_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(ProofInvalid, match="no entry"):
        verify_inclusion(index, size, LEAVES[0], [], LEAVES[0])
    with pytest.raises(IndexError):
        PROVER.inclusion(index, size)


def test_nothing_is_proven_about_an_empty_tree() -> None:
    verify_consistency(0, 0, [], tree.EMPTY_ROOT, tree.EMPTY_ROOT)
    with pytest.raises(ProofInvalid, match="two different roots"):
        verify_consistency(0, 0, [], ROOTS[1], ROOTS[1])
    with pytest.raises(ProofInvalid, match="empty tree"):
        verify_consistency(0, 5, [], tree.EMPTY_ROOT, ROOTS[5])
    with pytest.raises(IndexError):
        PROVER.consistency(0, 5)


def test_equal_sizes_need_equal_roots_and_no_hashes() -> None:
    verify_consistency(5, 5, [], ROOTS[5], ROOTS[5])
    assert PROVER.consistency(5, 5) == []
    with pytest.raises(ProofInvalid, match="two different roots"):
        verify_consistency(5, 5, [], ROOTS[5], ROOTS[6])
    with pytest.raises(ProofInvalid, match="must be empty"):
        verify_consistency(5, 5, [ROOTS[5]], ROOTS[5], ROOTS[5])


def test_a_tree_cannot_shrink() -> None:
    for old, new in ((6, 5), (-1, 5)):
        with pytest.raises(ProofInvalid, match="cannot continue"):
            verify_consistency(old, new, [], ROOTS[5], ROOTS[5])
    with pytest.raises(IndexError):
        PROVER.consistency(6, 5)


def test_a_tile_that_is_too_short_is_corruption() -> None:
    with pytest.raises(Corrupt, match="too short"):
        Prover(lambda _level, _n: b"x" * 64).root(4)
