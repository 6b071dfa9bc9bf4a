"""Tokens: API keys, refresh tokens, set-up links. Made here, shown once, stored as a hash.

    thane_<prefix>_<secret><checksum>

The secret is 32 characters of [0-9A-Za-z] (190 bits), so one SHA-256 is enough: there is
nothing to guess and nothing to slow down. Passwords, which people choose, must not be
hashed here. The checksum (CRC-32 of all before it, 6 characters in base 62) lets a typo
be told without the store, and lets secret scanners recognise a leaked key.
"""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from hashlib import sha256
from typing import Final, NamedTuple

from thane.kernel.sealing.errors import TokenMalformed

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARS: Final = 32
_CHECKSUM_CHARS: Final = 6
_PREFIX: Final = re.compile(r"[a-z][a-z0-9]{0,15}")
_TOKEN: Final = re.compile(
    rf"thane_([a-z][a-z0-9]{{0,15}})_([0-9A-Za-z]{{{_SECRET_CHARS + _CHECKSUM_CHARS}}})"
)


class Token(NamedTuple):
    """A token whose checksum fits. `prefix` says what it opens (`key`, `rt`, …); `text` is all of it."""

    prefix: str
    text: str


def new_token(prefix: str) -> str:
    """A fresh token of 190 random bits. Raises ValueError unless `prefix` is [a-z][a-z0-9]*, 16 at most."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"{prefix!r} cannot be the prefix of a token")
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARS))
    text = f"thane_{prefix}_{secret}"
    return text + _checksum(text)


def parse_token(text: str) -> Token:
    """The token in `text`, which says nothing about whether it is known. Raises TokenMalformed, which does
    not repeat the text: it may be a key with one wrong character."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        raise TokenMalformed("this is not a key of Thane's")
    if not same(_checksum(text[:-_CHECKSUM_CHARS]).encode(), text[-_CHECKSUM_CHARS:].encode()):
        raise TokenMalformed("the key is mistyped or cut: its checksum does not fit")
    return Token(found[1], text)


def token_hash(text: str) -> bytes:
    """SHA-256 of the whole token (32 bytes): what the store keeps, under a unique index."""
    return sha256(text.encode()).digest()


def same(left: bytes, right: bytes) -> bool:
    """Equality in a time that does not depend on where the two differ."""
    return hmac.compare_digest(left, right)


def _checksum(text: str) -> str:
    rest = zlib.crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM_CHARS):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
