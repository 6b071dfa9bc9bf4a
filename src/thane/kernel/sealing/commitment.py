"""Sealed fields: a value that can be opened, proven and forgotten.

A sealed field's stored value is

    commitment (32 bytes) ‖ sealed blob of (salt (32 bytes) ‖ plaintext)

with commitment = HMAC-SHA256(key = salt, message = plaintext). Row digests cover the
commitment (hex), not the ciphertext: so encrypting again under another key, or erasing
the key, breaks no proof. The salt lies inside the ciphertext, so who holds only digests
and commitments cannot try out likely values, and once the key is destroyed nobody can.

A *blanked* field is the commitment alone (32 bytes): its place in the row's digest stays.
"""

from __future__ import annotations

import hmac
import os
from typing import Final

from thane.kernel.sealing.envelope import OVERHEAD_BYTES, SubjectKey, SubjectKeys, open_sealed, seal
from thane.kernel.sealing.errors import Erased, SealedCorrupt

SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32

_SHORTEST: Final = COMMITMENT_BYTES + OVERHEAD_BYTES + SALT_BYTES


def commit(salt: bytes, plaintext: bytes) -> bytes:
    """HMAC-SHA256(salt, plaintext), 32 bytes. Raises ValueError unless `salt` has SALT_BYTES bytes.

    A fixed length matters: HMAC pads short keys with zeros, so free lengths would collide.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a commitment's salt has {SALT_BYTES} bytes, not {len(salt)}")
    return hmac.digest(salt, plaintext, "sha256")


def seal_field(key: SubjectKey, plaintext: bytes, aad: bytes) -> bytes:
    """The stored value of a sealed field, under a fresh salt. `aad` names its place, as for `seal`."""
    salt = os.urandom(SALT_BYTES)
    return commit(salt, plaintext) + seal(key, salt + plaintext, aad)


def open_field(keys: SubjectKeys, value: bytes, aad: bytes) -> bytes:
    """The plaintext of a stored field, checked against its commitment.

    Raises Erased for a blanked field, SealedCorrupt if the value or its commitment was
    changed, and what `open_sealed` raises.
    """
    return _opened(keys, value, aad)[SALT_BYTES:]


def reseal_field(keys: SubjectKeys, new_key: SubjectKey, value: bytes, aad: bytes) -> bytes:
    """The same value and commitment under `new_key`, so no digest changes. Raises as `open_field`."""
    return value[:COMMITMENT_BYTES] + seal(new_key, _opened(keys, value, aad), aad)


def commitment_of(value: bytes) -> bytes:
    """The commitment (32 bytes) of a stored field, blanked or not. Raises SealedCorrupt if it is neither."""
    if len(value) != COMMITMENT_BYTES and len(value) < _SHORTEST:
        raise SealedCorrupt(f"{len(value)} bytes are no sealed field")
    return value[:COMMITMENT_BYTES]


def blank_field(value: bytes) -> bytes:
    """What is left of a stored field after erasure: its commitment. Raises as `commitment_of`."""
    return commitment_of(value)


def _opened(keys: SubjectKeys, value: bytes, aad: bytes) -> bytes:
    """salt ‖ plaintext, known to be what was committed to."""
    commitment = commitment_of(value)
    if len(value) == COMMITMENT_BYTES:
        raise Erased("this field was erased; only its commitment is left")
    opened = open_sealed(keys, value[COMMITMENT_BYTES:], aad)
    if not hmac.compare_digest(commit(opened[:SALT_BYTES], opened[SALT_BYTES:]), commitment):
        raise SealedCorrupt("a sealed field does not agree with the commitment next to it")
    return opened
