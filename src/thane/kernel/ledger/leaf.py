"""What an entry proves: the leaf, which is hashed into the tree, and the heads of its rows.

The formats are those of protocols.md, "An entry" and "Rows and digests". It must not
hold anything that may have to be erased: details and bodies appear here by digest only.

**Shape.** Every field is always present; one that does not apply is `null`, never left
out. So all leaves have the same keys, and a verifier needs no rule about absence. An
entry that changed no row has `changes` = {count: 0, root: SHA-256("")}, the RFC 6962
root of an empty list. Digests are lowercase hex.

**Canonical by construction.** The structs declare their fields in sorted order, so
msgspec's encoding of a struct *is* its RFC 8785 form (a test compares it with
`canonical.encode`). Keep new fields in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Final

import msgspec

from thane.kernel.ledger.errors import LeafInvalid
from thane.kernel.ledger.tree import EMPTY_ROOT, root_of

LEAF_VERSION: Final = 1

# An entry bundle's length prefix ends at 65,535 bytes (c2sp.org/tlog-tiles). A leaf holds
# only ids and digests and needs about 700; one near this limit has content in the wrong place.
MAX_LEAF_BYTES: Final = 16_384

# Fixed, because salt ‖ row is hashed without a separator: a salt of free length would let
# two different pairs share one digest.
ROW_SALT_BYTES: Final = 16


class Kind(StrEnum):
    """What an entry stands for."""

    RECORD = "record"
    INTENT = "intent"
    OUTCOME = "outcome"
    ACCESS = "access"
    ERASURE = "erasure"


class Op(StrEnum):
    """What happened to one row."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ERASE = "erase"


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many rows an entry changed and the RFC 6962 root (hex) over their heads, in entry order."""

    count: int
    root: str

    @classmethod
    def of(cls, encoded_heads: Sequence[bytes]) -> Changes:
        """The changes of an entry whose heads have these canonical bytes."""
        if not encoded_heads:
            return NO_CHANGES
        return cls(len(encoded_heads), root_of(encoded_heads).hex())


NO_CHANGES: Final = Changes(0, EMPTY_ROOT.hex())


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The leaf of an entry. Ids are text as shown to people (`sbx_…`).

    `time` is in µs since 1970 UTC, never less than that of the leaf before. `actor` is
    the chain from the root user to whoever acted last. `seq` is the entry's index in
    its tenant's tree. `outcome` is null only for an intent; `intent` is the intent's
    index, for an outcome. `details` is the SHA-256 (hex) of the sealed details.
    """

    actor: tuple[str, ...]
    changes: Changes
    details: str | None
    intent: int | None
    kind: Kind
    operation: str
    outcome: str | None
    project: str | None
    request: str
    resource: str | None
    run: str | None
    seq: int
    tenant: str
    time: int
    v: int = LEAF_VERSION

    def encode(self) -> bytes:
        """The canonical bytes that are hashed and stored. Raises LeafInvalid past MAX_LEAF_BYTES."""
        data = _encode(self)
        if len(data) > MAX_LEAF_BYTES:
            raise LeafInvalid(
                f"the leaf of {self.operation} has {len(data)} bytes, more than {MAX_LEAF_BYTES}",
                hint="A leaf holds ids and digests only; put contents into the sealed details.",
            )
        return data


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One changed row, in the plain; kept for ever, so it must hold no personal data.

    `previous` is the index of the row's last entry; `before` and `after` are row digests
    (hex); `body` is the SHA-256 (hex) of the sealed body's bytes. Each is null where
    there is none (`before` and `previous` of a create, `after` of a delete).
    """

    after: str | None
    before: str | None
    body: str | None
    id: str
    op: Op
    previous: int | None
    schema: str
    schema_version: int

    def encode(self) -> bytes:
        """The canonical bytes: a leaf of the tree under `changes.root`. Raises LeafInvalid if too large."""
        data = _encode(self)
        if len(data) > MAX_LEAF_BYTES:
            raise LeafInvalid(f"the head of {self.schema} has {len(data)} bytes, more than {MAX_LEAF_BYTES}")
        return data


# One encoder, no options: field order is declaration order, which is sorted order.
_encode: Final = msgspec.json.Encoder().encode
_leaf_decoder: Final = msgspec.json.Decoder(Leaf)
_head_decoder: Final = msgspec.json.Decoder(Head)


def decode_leaf(data: bytes) -> Leaf:
    """The leaf with these bytes. Raises LeafInvalid unless they are exactly its canonical form."""
    try:
        leaf = _leaf_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise LeafInvalid(f"these bytes are no leaf: {fault}") from fault
    if leaf.v != LEAF_VERSION:
        raise LeafInvalid(f"leaf version {leaf.v} is unknown; this Thane reads {LEAF_VERSION}")
    if leaf.encode() != data:
        raise LeafInvalid(f"leaf {leaf.seq} is not in canonical form")
    return leaf


def decode_head(data: bytes) -> Head:
    """The head with these bytes. Raises LeafInvalid unless they are exactly its canonical form."""
    try:
        head = _head_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise LeafInvalid(f"these bytes are no head: {fault}") from fault
    if head.encode() != data:
        raise LeafInvalid(f"the head of {head.schema} {head.id} is not in canonical form")
    return head


def changes_root(heads: Sequence[Head]) -> bytes:
    """The RFC 6962 root over the heads' canonical bytes, in order (32 bytes); EMPTY_ROOT for none."""
    return root_of([head.encode() for head in heads])


def row_digest(salt: bytes, row: bytes) -> bytes:
    """SHA-256(salt ‖ row), 32 bytes: `row` is the canonical row, `salt` its hidden ROW_SALT_BYTES bytes.

    Raises ValueError for a salt of another length.
    """
    if len(salt) != ROW_SALT_BYTES:
        raise ValueError(f"a row's salt has {ROW_SALT_BYTES} bytes, not {len(salt)}")
    return sha256(salt + row).digest()


def sealed_digest(blob: bytes) -> str:
    """SHA-256 (lowercase hex) of sealed bytes, for `Leaf.details` and `Head.body`."""
    return sha256(blob).hexdigest()
