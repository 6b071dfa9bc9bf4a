"""A run: an agent's piece of work. What is done in it carries its id."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from thane.kernel.records import Field, Index, Record, entity, field, key, ref


class RunStatus(StrEnum):
    OPEN = "open"
    FINISHED = "finished"


@entity(
    "runs",
    "run",
    Index("tenant_id", "created_at DESC"),
    Index("tenant_id", "status", "created_at DESC"),
    Index("user_id"),
    subject="user_id",
)
class Run(Record):
    """A run. `outcome` is what its owner said when it was finished."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    project_id: Field[str] = ref("projects")
    user_id: Field[str] = ref("users")
    purpose: Field[str] = field(default="")
    status: Field[RunStatus] = field(default=RunStatus.OPEN)
    outcome: Field[str | None] = field(default=None)
    created_at: Field[datetime] = field()
    finished_at: Field[datetime | None] = field(default=None)
    updated_at: Field[datetime] = field()
