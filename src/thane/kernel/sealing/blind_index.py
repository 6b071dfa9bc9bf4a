"""Blind index: find a sealed value by equality without storing it.

HMAC-SHA256 under a key that serves nothing else (`KeyFolder.index_key`). Equal values of
one scope give equal marks, which is what makes look-ups possible and also all that the
index tells; values of different scopes cannot be matched. It must not be used for values
whose key holder is the attacker: who has the key can try out likely values.
"""

from __future__ import annotations

import hmac
import unicodedata
from typing import Final

MARK_BYTES: Final = 32


def blind_index(key: bytes, scope: str, value: str, *, fold: bool = False) -> bytes:
    """The mark (32 bytes) of `value`: HMAC-SHA256(key, scope ‖ 0x00 ‖ value).

    `scope` names the field (`users.phone`) and, if marks are not to match across tenants,
    the tenant. `fold` makes marks equal for values that differ only in case or
    compatibility form (see `folded`). Raises ValueError for a scope with a NUL, since it
    ends there, and for a key that has not 32 bytes.
    """
    if len(key) != 32:
        raise ValueError(f"a blind index key has 32 bytes, not {len(key)}")
    if "\x00" in scope:
        raise ValueError("a blind index scope must not hold a NUL")
    text = folded(value) if fold else value
    return hmac.digest(key, scope.encode() + b"\x00" + text.encode(), "sha256")


def folded(value: str) -> str:
    """NFKC, case folded, NFKC again (folding can leave a form that is not NFKC; Unicode 3.13, D147)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
