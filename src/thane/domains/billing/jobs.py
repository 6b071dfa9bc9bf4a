"""What verification recomputes of billing: months from their events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from thane.domains.billing.entities import BillingEvent, UsageAggregate
from thane.domains.billing.service import SCALE, aggregate_id, period_of
from thane.kernel.clock import from_us
from thane.kernel.jobs import CounterCheck
from thane.kernel.jobs.rows import bare_pages
from thane.kernel.money import ZERO, add, plain
from thane.kernel.records import Records, schema_of

_DAY_US = 86_400_000_000
# The order in which `_Month.count` and `recompute` take them.
_FIELDS = ("id", "project_id", "user_id", "timestamp", "execution_id", "event_type", "amount", "metadata")


class _Measured(msgspec.Struct):
    duration_ms: int = 0


_metadata = msgspec.json.Decoder(_Measured).decode


class _Month:
    """What the events of one month come to."""

    __slots__ = ("cost", "duration_ms", "executions")

    def __init__(self) -> None:
        self.executions = 0
        self.duration_ms = 0
        self.cost: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)

    def count(self, execution_id: str | None, event_type: str, amount: str, metadata: str) -> None:
        self.executions += execution_id is not None
        self.duration_ms += _metadata(metadata).duration_ms
        self.cost[event_type] = add(self.cost[event_type], Decimal(amount))


async def recompute(records: Records, tenant_id: str) -> Iterable[UsageAggregate]:
    """Every month of a tenant, as its billing events say."""
    months: defaultdict[tuple[str, str, str], _Month] = defaultdict(_Month)
    async for rows in bare_pages(records.engine, schema_of(BillingEvent), tenant_id, _FIELDS):
        for _, project_id, user_id, at, execution_id, event_type, amount, metadata, *_rest in rows:
            month = months[project_id, user_id, _period(at // _DAY_US)]
            month.count(execution_id, event_type, amount, metadata)
    return [_aggregate(tenant_id, *key, month) for key, month in months.items()]


def _aggregate(tenant_id: str, project_id: str, user_id: str, period: str, month: _Month) -> UsageAggregate:
    total = ZERO
    for cost in month.cost.values():
        total = add(total, cost)
    # As `book` writes it, whose amounts have all their digits.
    breakdown: dict[str, Any] = {name: plain(cost, SCALE) for name, cost in month.cost.items()}
    return UsageAggregate(
        id=aggregate_id(project_id, user_id, period),
        tenant_id=tenant_id,
        project_id=project_id,
        user_id=user_id,
        period=period,
        total_executions=month.executions,
        total_duration_ms=month.duration_ms,
        total_cost=total,
        breakdown=breakdown,
    )


@lru_cache(1024)
def _period(day: int) -> str:
    """The month of a day, counted since 1970."""
    return period_of(from_us(day * _DAY_US))


CHECKS = (CounterCheck(UsageAggregate, recompute),)
