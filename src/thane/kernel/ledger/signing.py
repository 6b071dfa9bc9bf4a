"""What a signing round signs: a note for each tree that grew, and the root log over those notes.

Each tenant's tree gets a checkpoint of its own (origin `<name>/<tenant id>`), signed; the
note's text becomes the next leaf of the root log, whose checkpoint (origin `<name>`)
follows. So one root checkpoint, kept or witnessed elsewhere, holds every tenant's tree.
Pure: it reads no store, keeps no state, and decides nothing about when to sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from thane.kernel.errors import Corrupt
from thane.kernel.ledger.errors import ProofInvalid
from thane.kernel.ledger.note import Checkpoint, Signer, Verifier, open_checkpoint, sign_note
from thane.kernel.ledger.proof import Prover, verify_consistency
from thane.kernel.ledger.tree import EMPTY_ROOT, FullTileReader, LeafHashReader, TileReader

S = TypeVar("S")


class LedgerForked(Corrupt):
    """A tree does not continue what was signed before: entries were changed, not added."""

    code = "ledger_forked"
    title = "The ledger does not continue what was signed"
    default_hint = (
        "Nothing is signed any more. Keep this store as it is, run `thane verify` to see the entry, "
        "and restore a copy from before the change."
    )


class GrownTree(Protocol):
    """A tree that has grown since its last checkpoint."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def root(self) -> bytes: ...


class GrowingRoot(Protocol):
    """The root log, open for this round's leaves."""

    def append(self, leaf: bytes) -> None: ...
    @property
    def size(self) -> int: ...
    def root(self) -> bytes: ...


class Head(NamedTuple):
    """A tree at one size."""

    size: int
    root: bytes


EMPTY = Head(0, EMPTY_ROOT)


def tenant_origin(name: str, tenant_id: str) -> str:
    """The origin of a tenant's log."""
    return f"{name}/{tenant_id}"


def tenant_of(name: str, origin: str) -> str | None:
    """The tenant whose log has this origin; None if it is none of this name's."""
    found, slash, tenant_id = origin.rpartition("/")
    return tenant_id if slash and found == name and tenant_id else None


def sign_round(
    signer: Signer, grown: Sequence[GrownTree], root: GrowingRoot, keep: Callable[[str, int, str], S]
) -> list[S]:
    """Notes for these trees, their leaves in the root log, and the root's own note last.

    `keep(tenant id, size, note)` makes what the caller stores; the root log's tenant id is "".
    """
    if not grown:
        return []
    kept: list[S] = []
    for tree in grown:
        text = Checkpoint(tenant_origin(signer.name, tree.tenant_id), tree.size, tree.root).text()
        root.append(text.encode())
        kept.append(keep(tree.tenant_id, tree.size, sign_note(text, signer)))
    text = Checkpoint(signer.name, root.size, root.root()).text()
    kept.append(keep("", root.size, sign_note(text, signer)))
    return kept


def open_head(note: str, verifier: Verifier, tenant_id: str = "") -> Head:
    """The tree head in a signed checkpoint of ours. NoteInvalid if it is not ours or not of this tree."""
    origin = tenant_origin(verifier.name, tenant_id) if tenant_id else verifier.name
    checkpoint = open_checkpoint(note, (verifier,), origin=origin)
    return Head(checkpoint.size, checkpoint.root)


class View:
    """A stored tree, as `Engine.with_tree` shows it: what can be proven of it from its tiles."""

    def __init__(self, size: int, full_tiles: FullTileReader, leaf_hashes: LeafHashReader) -> None:
        self._prover = Prover(TileReader(size, full_tiles, leaf_hashes))
        self.head = Head(size, self._prover.root(size))

    def must_continue(self, known: Head, what: str) -> None:
        """LedgerForked unless this tree is the one with the head `known`, or that one grown.

        The caller has seen to it that it is not shorter.
        """
        if known.size == 0:
            return
        try:
            proof = self._prover.consistency(known.size, self.head.size)
            verify_consistency(known.size, self.head.size, proof, known.root, self.head.root)
        except ProofInvalid as fault:
            raise LedgerForked(f"{what} does not continue its checkpoint of {known.size} entries") from fault
