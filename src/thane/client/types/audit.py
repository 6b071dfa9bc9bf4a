"""What answers and requests are made of: audit.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from thane.client.types.common import Head

AuditStatus: TypeAlias = Literal["success", "failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    """One action: `action` on `resource_type` make the operation's name (`create`, `sandboxes`).

    `user_id` is the user at the root of the actor chain, `actor` who acted last.
    `entry_index` is where its proof is; None for an access row. No field is a reference:
    the trail outlives what it names.
    """

    version: int = 0
    id: str
    tenant_id: str
    project_id: str | None = None
    user_id: str | None = None
    actor: str
    action: str
    resource_type: str
    resource_id: str | None = None
    status: AuditStatus
    error_message: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    request_id: str
    run_id: str | None = None
    details: dict[str, Any] | None = None
    entry_index: int | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointView:
    """The newest signed checkpoint of the tenant's log and of the root log, and the key that signs."""

    vkey: str
    size: int
    note: str
    root_note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Entries in order. `next_start` is where the next page begins, also while nothing stands there yet."""

    items: list[EntryView]
    next_start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """An entry as people and models read it. `details` is null where there are none, or retention or an
    erasure has emptied them; `leaf.details` says which.
    """

    index: int
    leaf_hash: str
    leaf: Any
    heads: list[Head]
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """`proof` is a file in the format c2sp.org/tlog-proof@v1; save it as it is."""

    index: int
    proof: str
