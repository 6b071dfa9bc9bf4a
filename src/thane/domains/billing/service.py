"""Rules of billing: what a use costs, and that a month equals the sum of its events.

Prices come from the settings. An event and the month it counts in are written in one
unit, so they cannot disagree; `thane verify` recomputes the months from the events.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from hashlib import sha256

import msgspec

from thane.domains.billing.entities import BillingEvent, UsageAggregate
from thane.kernel.money import multiply
from thane.kernel.ports.isolation import Usage
from thane.kernel.records import Unit

SCALE = 18


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """The price table of the settings.

    A compute unit is one CPU second, or `unit_memory_bytes` held for a second.
    """

    compute_unit_usd: Decimal
    unit_memory_bytes: int


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What one execution used, in units and money."""

    compute_units: Decimal
    cost_usd: Decimal
    billing_tier: str


class BillingService:
    """Prices and books."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices

    def bill(self, usage: Usage, plan: str) -> Bill:
        """The price of measured use: CPU seconds, plus peak memory (in the table's units) × wall seconds."""
        cpu = Decimal(usage.cpu_us) / 1_000_000
        memory = Decimal(usage.peak_memory_bytes) / self.prices.unit_memory_bytes * usage.wall_us / 1_000_000
        units = multiply(cpu + memory, Decimal(1), SCALE)
        cost = multiply(units, self.prices.compute_unit_usd, SCALE)
        return Bill(compute_units=units, cost_usd=cost, billing_tier=plan)

    def most(self, *, cpu_millicores: int, memory_bytes: int, timeout_ms: int, plan: str) -> Decimal:
        """What an execution can cost at the most under its limits: reserved before it starts."""
        wall_us = timeout_ms * 1000
        usage = Usage(
            wall_us=wall_us, cpu_us=wall_us * cpu_millicores // 1000, peak_memory_bytes=memory_bytes
        )
        return self.bill(usage, plan).cost_usd

    def book(
        self,
        unit: Unit,
        *,
        user_id: str,
        project_id: str,
        execution_id: str | None,
        event_type: str,
        amount: Decimal,
        duration_ms: int,
        metadata: dict[str, object],
    ) -> BillingEvent:
        """Write the event and count it into its month."""
        event = unit.create(
            BillingEvent(
                id=unit.new_id(BillingEvent),
                tenant_id=unit.context.tenant_id,
                project_id=project_id,
                user_id=user_id,
                run_id=unit.context.run_id,
                execution_id=execution_id,
                event_type=event_type,
                timestamp=unit.now,
                amount=amount,
                metadata={**metadata, "duration_ms": duration_ms},
            )
        )
        period = period_of(event.timestamp)
        month = UsageAggregate(
            id=aggregate_id(project_id, user_id, period),
            tenant_id=event.tenant_id,
            project_id=project_id,
            user_id=user_id,
            period=period,
        )
        unit.increment(
            month,
            total_executions=1 if execution_id is not None else 0,
            total_duration_ms=duration_ms,
            total_cost=amount,
            breakdown={event_type: amount},
        )
        return event


def period_of(time: datetime) -> str:
    """The month that a time is billed in: `2026-11`, in UTC."""
    return f"{time:%Y-%m}"


def aggregate_id(project_id: str, user_id: str, period: str) -> str:
    """A month's row id follows from what it counts, so that two writers meet in one row."""
    return f"use_{sha256(f'{project_id}/{user_id}/{period}'.encode()).hexdigest()[:32]}"
