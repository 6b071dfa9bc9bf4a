"""Sealing: AES-256-GCM under the data key of one subject (a user or a tenant).

A sealed blob is

    version (1 byte, 0x01) ‖ key id (16 bytes) ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)

The associated data given to GCM is version ‖ key id ‖ the caller's `aad`, so neither the
header nor the place a blob belongs to can be exchanged. Callers put schema, field and
row id into `aad`. This module must not store keys nor decide whose key is used.

Nonces are random: NIST SP 800-38D (8.3) allows 2^32 blobs under one key, which is why
each subject has its own.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from thane.kernel.sealing.errors import KeyMissing, SealedCorrupt

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 16
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

_VERSION: Final = b"\x01"
_HEADER_BYTES: Final = 1 + KEY_ID_BYTES
_BODY_AT: Final = _HEADER_BYTES + NONCE_BYTES

#: How much longer a sealed blob is than its plaintext, in bytes.
OVERHEAD_BYTES: Final = _BODY_AT + TAG_BYTES


class SubjectKey:
    """The data key of one subject, in the plain; keep it in memory only. `repr` does not show it."""

    __slots__ = ("_cipher", "_header", "key_id", "secret", "subject")

    def __init__(self, subject: str, key_id: bytes, secret: bytes) -> None:
        """`key_id` has 16 bytes, `secret` 32. Raises ValueError otherwise."""
        if len(key_id) != KEY_ID_BYTES or len(secret) != KEY_BYTES:
            raise ValueError(f"a subject key has an id of {KEY_ID_BYTES} and a secret of {KEY_BYTES} bytes")
        self.subject = subject
        self.key_id = key_id
        self.secret = secret
        # Setting up the cipher costs as much as sealing half a kilobyte; a key seals many.
        self._cipher = AESGCM(secret)
        self._header = _VERSION + key_id

    @classmethod
    def new(cls, subject: str) -> SubjectKey:
        """A fresh random key for `subject`."""
        return cls(subject, os.urandom(KEY_ID_BYTES), os.urandom(KEY_BYTES))

    def __repr__(self) -> str:
        return f"SubjectKey(subject={self.subject!r}, key_id={self.key_id.hex()})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SubjectKey):
            return NotImplemented
        return (self.subject, self.key_id, self.secret) == (other.subject, other.key_id, other.secret)

    def __hash__(self) -> int:
        return hash((self.subject, self.key_id))


class SubjectKeys(Protocol):
    """Where `open_sealed` finds a key: a dict by key id, or a store's cache.

    Raises KeyError for an id it does not know and may raise `Erased` for one it knows to
    be destroyed.
    """

    def __getitem__(self, key_id: bytes, /) -> SubjectKey: ...


def seal(key: SubjectKey, plaintext: bytes, aad: bytes) -> bytes:
    """`plaintext` sealed for the place that `aad` names; OVERHEAD_BYTES longer, different every time."""
    header = key._header
    nonce = os.urandom(NONCE_BYTES)
    return header + nonce + key._cipher.encrypt(nonce, plaintext, header + aad)


def open_sealed(keys: SubjectKeys, blob: bytes, aad: bytes) -> bytes:
    """The plaintext of `blob`.

    Raises KeyMissing if `keys` lacks its key, SealedCorrupt if it was changed, cut or
    sealed for another `aad`, and whatever `keys` raises for an erased subject.
    """
    key_id = sealed_key_id(blob)
    try:
        key = keys[key_id]
    except KeyError:
        raise KeyMissing(f"the data key {key_id.hex()} is not here") from None
    try:
        return key._cipher.decrypt(blob[_HEADER_BYTES:_BODY_AT], blob[_BODY_AT:], key._header + aad)
    except InvalidTag:
        raise SealedCorrupt(
            f"a value of {key.subject} does not open with its key {key_id.hex()}: "
            "it was changed, or belongs to another row or field"
        ) from None


def sealed_key_id(blob: bytes) -> bytes:
    """The id (16 bytes) of the key that `blob` was sealed with. Raises SealedCorrupt if it is no blob."""
    if len(blob) < OVERHEAD_BYTES:
        raise SealedCorrupt(f"{len(blob)} bytes are too few for a sealed value ({OVERHEAD_BYTES} at least)")
    if blob[:1] != _VERSION:
        raise SealedCorrupt(f"sealed format {blob[0]} is unknown; this Thane reads {_VERSION[0]}")
    return blob[1:_HEADER_BYTES]
