"""What was used and what it cost. Bills belong to the tenant and outlive an erased user."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from thane.kernel.money import ZERO
from thane.kernel.records import Field, Index, Record, entity, field, key, ref


@entity(
    "billing_events",
    "bil",
    Index("tenant_id", "user_id", "timestamp", name="idx_billing_user_time"),
    Index("tenant_id", "user_id", "timestamp DESC", name="idx_billing_monthly"),
    Index("tenant_id", "timestamp DESC"),
    Index("execution_id"),
)
class BillingEvent(Record):
    """One thing that was billed. `execution_id` is empty for tool calls, function runs and stored bytes."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    project_id: Field[str] = ref("projects")
    user_id: Field[str] = ref("users")
    run_id: Field[str | None] = field(default=None)
    execution_id: Field[str | None] = ref("executions", default=None)
    event_type: Field[str] = field()
    timestamp: Field[datetime] = field()
    amount: Field[Decimal] = field()
    currency: Field[str] = field(default="USD")
    metadata: Field[dict[str, Any]] = field(default_factory=dict)


@entity(
    "usage_aggregates",
    "use",
    Index("tenant_id", "project_id", "user_id", "period", unique=True, name="idx_usage_user_period"),
    Index("tenant_id", "period"),
    counter=True,
    history=False,
)
class UsageAggregate(Record):
    """A user's month (`2026-11`) in a project.

    Always the sum of its billing events, because both change in one unit.
    """

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    project_id: Field[str] = ref("projects")
    user_id: Field[str] = ref("users")
    period: Field[str] = field()
    total_executions: Field[int] = field(default=0)
    total_duration_ms: Field[int] = field(default=0)
    total_cost: Field[Decimal] = field(default=ZERO)
    breakdown: Field[dict[str, Any]] = field(default_factory=dict)  # cost by event type
