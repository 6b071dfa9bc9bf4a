"""What the ledger's pure functions refuse. Damage found in a store is `kernel.errors.Corrupt`."""

from __future__ import annotations

from thane.kernel.errors import NotFound, ThaneError


class LedgerError(ThaneError):
    """Root of what is wrong with a leaf, a note, a proof or a bundle."""

    code = "ledger_error"
    status = 422
    title = "Not a valid part of a ledger"
    default_hint = "Fetch it again from the server that made it; `thane verify` checks the store itself."


class LeafInvalid(LedgerError):
    """A leaf or a head that is too large, not canonical, or not of the known shape."""

    code = "leaf_invalid"
    title = "Not a valid ledger entry"


class NoteInvalid(LedgerError):
    """A signed note, verifier key or checkpoint that is malformed or not signed by a known key."""

    code = "note_invalid"
    title = "Not a valid signed note"


class ProofInvalid(LedgerError):
    """A Merkle proof that does not lead to the root it is held against, or cannot be read."""

    code = "proof_invalid"
    title = "The proof does not hold"


class BundleInvalid(LedgerError):
    """An entry bundle whose length prefixes do not add up."""

    code = "bundle_invalid"
    title = "Not a valid entry bundle"


class TilePathInvalid(NotFound):
    """A path that names no tile. A client sent it, so it is a 404."""

    code = "tile_path_invalid"
    title = "No such tile"
    default_hint = "Paths follow c2sp.org/tlog-tiles, for example tile/0/x001/234 or tile/0/x001/234.p/17."
