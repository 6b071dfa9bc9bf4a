"""The audit log: a projection of the ledger, with the access rows beside it at query time.

**What is kept in the plain.** Ids, names of operations, times and outcomes: what the
ledger's leaf says anyway. What is personal (address, user agent) or contents (details) is
not copied into this table: it is unsealed from the entry when somebody asks, so an erasure
needs to do nothing here. Those columns are therefore always empty in the store, and a list
cannot be filtered by them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from thane.kernel.records import Field, Index, Record, entity, field, key

UNSEALED_AT_QUERY = ("ip_address", "user_agent", "details")


class AuditStatus(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"


@entity(
    "audit_logs",
    "aud",
    Index("tenant_id", "created_at DESC", "id DESC"),
    Index("tenant_id", "user_id", "created_at DESC"),
    Index("tenant_id", "resource_type", "resource_id", "created_at DESC"),
    Index("tenant_id", "run_id", "created_at DESC"),
    history=False,
)
class AuditLog(Record):
    """One action: `action` on `resource_type` make the operation's name (`create`, `sandboxes`).

    `user_id` is the user at the root of the actor chain, `actor` who acted last.
    `entry_index` is where its proof is; None for an access row. No field is a reference:
    the trail outlives what it names.
    """

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    project_id: Field[str | None] = field()
    user_id: Field[str | None] = field()
    actor: Field[str] = field()
    action: Field[str] = field()
    resource_type: Field[str] = field()
    resource_id: Field[str | None] = field()
    status: Field[AuditStatus] = field()
    error_message: Field[str | None] = field()
    ip_address: Field[str | None] = field()
    user_agent: Field[str | None] = field()
    request_id: Field[str] = field()
    run_id: Field[str | None] = field()
    details: Field[dict[str, Any] | None] = field()
    entry_index: Field[int | None] = field()
    created_at: Field[datetime] = field()


ENTITIES = (AuditLog,)
