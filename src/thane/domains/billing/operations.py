"""What can be asked of billing."""

from __future__ import annotations

from thane.domains.billing.entities import BillingEvent, UsageAggregate
from thane.domains.billing.service import BillingService
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.listing import ListRequest, list_page
from thane.kernel.paging import Page
from thane.kernel.records import Unit


@operation(
    "billing_events.list",
    http="GET /billing/events",
    needs="billing_events.list",
    effect=Effect.NONE,
    entity=BillingEvent,
    lists=True,
    example=Example(),
)
async def list_events(billing: BillingService, unit: Unit, request: ListRequest) -> Page[BillingEvent]:
    """List what was billed, one event for each execution."""
    return await list_page(unit, BillingEvent, request)


@operation(
    "usage_aggregates.list",
    http="GET /usage",
    needs="usage_aggregates.list",
    effect=Effect.NONE,
    entity=UsageAggregate,
    lists=True,
    example=Example(),
    cli="usage",
)
async def list_usage(billing: BillingService, unit: Unit, request: ListRequest) -> Page[UsageAggregate]:
    """List months of use by user and project: executions, time and cost."""
    return await list_page(unit, UsageAggregate, request, order=(UsageAggregate.period.desc(),))


ALL = (list_events, list_usage)
