"""What verification recomputes of billing: months from their events."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from thane.domains.billing.entities import BillingEvent, UsageAggregate
from thane.domains.billing.service import SCALE, aggregate_id, period_of
from thane.kernel.context import system_context
from thane.kernel.jobs import CounterCheck
from thane.kernel.money import add, plain
from thane.kernel.records import Records

PAGE = 500


async def recompute(records: Records, tenant_id: str) -> Iterable[UsageAggregate]:
    """Every month of a tenant, as its billing events say."""
    unit = records.unit(system_context(tenant_id, "req_verify", 0))
    months: dict[str, UsageAggregate] = {}
    last = ""
    while events := await unit.list(BillingEvent, BillingEvent.id > last, (BillingEvent.id.asc(),), PAGE):
        for event in events:
            month = _month(months, event)
            months[month.id] = msgspec.structs.replace(
                month,  # type: ignore[type-var]
                total_executions=month.total_executions + (event.execution_id is not None),
                total_duration_ms=month.total_duration_ms + int(event.metadata.get("duration_ms", 0)),
                total_cost=add(month.total_cost, event.amount),
                breakdown=_grown(month.breakdown, event),
            )
        last = events[-1].id
    return months.values()


def _month(months: dict[str, UsageAggregate], event: BillingEvent) -> UsageAggregate:
    period = period_of(event.timestamp)
    id_ = aggregate_id(event.project_id, event.user_id, period)
    return months.get(id_) or UsageAggregate(
        id=id_, tenant_id=event.tenant_id, project_id=event.project_id, user_id=event.user_id, period=period
    )


def _grown(breakdown: dict[str, str], event: BillingEvent) -> dict[str, str]:
    total = add(Decimal(breakdown.get(event.event_type, "0")), event.amount)
    # As `book` writes it, whose amounts have all their digits: a stored amount comes back without its zeros.
    return {**breakdown, event.event_type: plain(total, SCALE)}


CHECKS = (CounterCheck(UsageAggregate, recompute),)
