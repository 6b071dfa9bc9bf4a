"""What answers and requests are made of: billing.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingEvent:
    """One thing that was billed. `execution_id` is empty for tool calls, function runs and stored bytes."""

    version: int = 0
    id: str
    tenant_id: str
    project_id: str
    user_id: str
    run_id: str | None = None
    execution_id: str | None = None
    event_type: str
    timestamp: datetime
    amount: Decimal
    currency: str = "USD"
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAggregate:
    """A user's month (`2026-11`) in a project.

    Always the sum of its billing events, because both change in one unit.
    """

    version: int = 0
    id: str
    tenant_id: str
    project_id: str
    user_id: str
    period: str
    total_executions: int = 0
    total_duration_ms: int = 0
    total_cost: Decimal = Decimal(0)
    breakdown: dict[str, Any] = field(default_factory=dict)
