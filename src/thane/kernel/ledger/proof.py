"""Merkle proofs of RFC 6962: made from tiles, and checked.

`Prover` reads tiles (`tree.TileReader` gives partial ones too) and trusts them; the
verifiers trust nothing but the roots they are given. The two halves use different
algorithms, RFC 6962's recursion here and RFC 9162's loop there, so one mistake does not
hide in both. Roots must come from a checked signature or a rebuilt tree, never from the
sender of the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from thane.kernel.errors import Corrupt
from thane.kernel.ledger.errors import ProofInvalid
from thane.kernel.ledger.tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    TILE_WIDTH,
    node_hash,
    root_of_hashes,
    split_hashes,
)

#: (level, n) -> concatenated hashes of that tile, whole or partial.
HashReader = Callable[[int, int], bytes]

_TILE_HEIGHT: Final = 8


class Prover:
    """Roots and proofs of a stored tree. Remembers subtree hashes: make one per request."""

    def __init__(self, tiles: HashReader) -> None:
        """`tiles` must cover the largest size asked for; partial tiles may be wider than needed."""
        self._tiles = tiles
        self._nodes: dict[tuple[int, int], bytes] = {}

    def root(self, size: int) -> bytes:
        """The root at `size` (32 bytes); EMPTY_ROOT at 0."""
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The audit path of leaf `index` at `size` (RFC 6962 2.1.1), sibling of the leaf first.

        Raises IndexError unless 0 <= index < size.
        """
        if not 0 <= index < size:
            raise IndexError(f"no entry {index} in a tree of {size}")
        path: list[tuple[int, int]] = []
        start, stop = 0, size
        while stop - start > 1:
            middle = start + _split(stop - start)
            if index < middle:
                path.append((middle, stop))
                stop = middle
            else:
                path.append((start, middle))
                start = middle
        return [self._range(*part) for part in reversed(path)]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree at `new` continues the one at `old` (RFC 6962 2.1.2); empty if equal.

        Raises IndexError unless 0 < old <= new: nothing can be proven about an empty tree.
        """
        if not 0 < old <= new:
            raise IndexError(f"no consistency proof from {old} to {new}")
        return self._subproof(old, 0, new, True)

    def _subproof(self, old: int, start: int, stop: int, whole: bool) -> list[bytes]:
        """SUBPROOF of RFC 6962 2.1.2 over [start, stop); `whole`: the verifier knows the old root here."""
        if old == stop - start:
            return [] if whole else [self._range(start, stop)]
        left = _split(stop - start)
        if old <= left:
            return [*self._subproof(old, start, start + left, whole), self._range(start + left, stop)]
        return [
            *self._subproof(old - left, start + left, stop, False),
            self._range(start, start + left),
        ]

    def _range(self, start: int, stop: int) -> bytes:
        """MTH(D[start:stop]) of RFC 6962 2.1. `start` is a multiple of the power of two below the width."""
        width = stop - start
        if width & (width - 1) == 0:
            height = width.bit_length() - 1
            return self._node(height, start >> height)
        middle = start + _split(width)
        return node_hash(self._range(start, middle), self._range(middle, stop))

    def _node(self, height: int, index: int) -> bytes:
        """Root of the perfect subtree `index` of 2^height leaves."""
        known = self._nodes.get((height, index))
        if known is not None:
            return known
        level, above = divmod(height, _TILE_HEIGHT)
        first = index << above
        n, offset = divmod(first, TILE_WIDTH)
        part = self._tiles(level, n)[offset * HASH_BYTES : (offset + (1 << above)) * HASH_BYTES]
        if len(part) != HASH_BYTES << above:
            raise Corrupt(f"tile {level}/{n} is too short for the hash at height {height}, index {index}")
        node = self._nodes[height, index] = root_of_hashes(split_hashes(part))
        return node


def _split(width: int) -> int:
    """The largest power of two smaller than `width` (RFC 6962 2.1)."""
    return 1 << ((width - 1).bit_length() - 1)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Returns if leaf hash `leaf` is entry `index` of the tree with that size and root (RFC 9162 2.1.3.2).

    Raises ProofInvalid otherwise, also for hashes that are not 32 bytes.
    """
    _refuse_bad_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise ProofInvalid(f"a tree of {size} entries has no entry {index}")
    node, place, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            raise ProofInvalid(
                f"the inclusion proof of entry {index} is longer than a tree of {size} is high"
            )
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        place >>= 1
        last >>= 1
    if last != 0:
        raise ProofInvalid(f"the inclusion proof of entry {index} in a tree of {size} is too short")
    if node != root:
        raise ProofInvalid(f"the inclusion proof of entry {index} does not lead to the root of size {size}")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Returns if the tree (new, new_root) continues (old, old_root) (RFC 9162 2.1.4.2).

    Raises ProofInvalid otherwise: also for hashes that are not 32 bytes, for a root of
    size 0 that is not EMPTY_ROOT, and from 0 to more: every tree continues the empty one,
    so there is nothing to prove and an "accepted" would be misread.
    """
    _refuse_bad_hashes(old_root, new_root, *proof)
    if not 0 <= old <= new:
        raise ProofInvalid(f"a tree of {new} entries cannot continue one of {old}")
    if old == 0 and new > 0:
        raise ProofInvalid("nothing can be proven about an empty tree; check the new root by itself")
    if old == new:
        if proof:
            raise ProofInvalid(f"between equal sizes ({old}) the consistency proof must be empty")
        if old_root != new_root or (old == 0 and old_root != EMPTY_ROOT):
            raise ProofInvalid(f"two different roots are claimed for size {old}")
        return
    # A power of two is a subtree of the new tree, so the proof leaves its hash, the old root, out.
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise ProofInvalid(f"the consistency proof from {old} to {new} is empty")
    if not _continues(old, new, path, old_root, new_root):
        raise ProofInvalid(f"the tree of {new} entries does not continue the one of {old}")


def _continues(old: int, new: int, path: list[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Steps 3 to 7 of RFC 9162 2.1.4.2: both roots rebuilt from one path."""
    place, last = old - 1, new - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_node = node_hash(sibling, old_node)
            new_node = node_hash(sibling, new_node)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            new_node = node_hash(new_node, sibling)
        place >>= 1
        last >>= 1
    return last == 0 and old_node == old_root and new_node == new_root


def _refuse_bad_hashes(*hashes: bytes) -> None:
    for found in hashes:
        if len(found) != HASH_BYTES:
            raise ProofInvalid(f"a hash has {HASH_BYTES} bytes, not {len(found)}")
