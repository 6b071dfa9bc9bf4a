"""What answers and requests are made of: common.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlace:
    """Where an outcome stands in the tenant's tree."""

    index: int
    leaf_hash: str
    intent_index: int


Op: TypeAlias = Literal["create", "update", "delete", "erase"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
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
