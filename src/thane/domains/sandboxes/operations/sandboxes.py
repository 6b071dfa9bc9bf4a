"""What can be asked of sandboxes."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from thane.domains.sandboxes.entities import (
    AlertAction,
    Execution,
    Sandbox,
)
from thane.domains.sandboxes.service import (
    SandboxesService,
    WantedLimits,
)
from thane.kernel.errors import NotFound
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.listing import ListRequest, list_page
from thane.kernel.paging import Page
from thane.kernel.ports.isolation import Tier
from thane.kernel.records import Unit

Language = Annotated[Literal["python", "shell"], msgspec.Meta(description="What runs the code")]
Name = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=100, pattern="^[^/\x00-\x1f]+$", description="A name to know it by"
    ),
]


class CreateSandbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | None = None
    language: Language = "python"
    resource_limits: WantedLimits | None = None
    minimum_tier: Annotated[
        Literal["T1", "T2-", "T2", "T3"] | None,
        msgspec.Meta(description="Weakest isolation under which its code may run; null: the server's own"),
    ] = None
    alert_action: Annotated[
        AlertAction, msgspec.Meta(description="What happens when an execution nears its memory limit")
    ] = AlertAction.NOTIFY
    metadata: Annotated[dict[str, Any], msgspec.Meta(description="Anything of yours")] = {}


@operation(
    "sandboxes.create",
    http="POST /sandboxes",
    needs="sandboxes.create",
    effect=Effect.RECORDS,
    entity=Sandbox,
    example=Example({"name": "reports", "resource_limits": {"max_memory_mb": 128}}),
)
async def create_sandbox(sandboxes: SandboxesService, unit: Unit, request: CreateSandbox) -> Sandbox:
    """Create a sandbox: a place to run code, with limits.

    It is only a record until the first execution starts its process.
    """
    return await sandboxes.create(
        unit,
        request.name,
        request.language,
        request.resource_limits,
        request.metadata,
        request.alert_action,
        None if request.minimum_tier is None else Tier(request.minimum_tier),
    )


class GetSandbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str


@operation(
    "sandboxes.get",
    http="GET /sandboxes/{sandbox_id}",
    needs="sandboxes.get",
    effect=Effect.NONE,
    entity=Sandbox,
    example=Example({"sandbox_id": "$sandboxes.create/id"}),
)
async def get_sandbox(sandboxes: SandboxesService, unit: Unit, request: GetSandbox) -> Sandbox:
    """Show one sandbox."""
    return await unit.get(Sandbox, request.sandbox_id)


@operation(
    "sandboxes.list",
    http="GET /sandboxes",
    needs="sandboxes.list",
    effect=Effect.NONE,
    entity=Sandbox,
    lists=True,
    example=Example(),
)
async def list_sandboxes(sandboxes: SandboxesService, unit: Unit, request: ListRequest) -> Page[Sandbox]:
    """List sandboxes, filtered and sorted as you like."""
    return await list_page(unit, Sandbox, request)


@operation(
    "sandboxes.terminate",
    http="POST /sandboxes/{sandbox_id}/terminate",
    needs="sandboxes.terminate",
    effect=Effect.RECORDS,
    entity=Sandbox,
    status=200,
    example=Example({"sandbox_id": "$sandboxes.create/id"}),
)
async def terminate_sandbox(sandboxes: SandboxesService, unit: Unit, request: GetSandbox) -> Sandbox:
    """Terminate a sandbox: nothing can be run in it any more.

    What runs in it is cancelled, and its files and its contexts' variables are gone.
    """
    return await sandboxes.terminate(unit, request.sandbox_id)


class UsageToday(msgspec.Struct, frozen=True, kw_only=True):
    """The executions of the last 24 hours: how many, and their wall time in milliseconds together."""

    total: int
    total_duration: int


class DashboardData(msgspec.Struct, frozen=True, kw_only=True):
    """What is going on: sandboxes created or running, the last ten executions of 24 hours, their totals."""

    sandboxes: tuple[Sandbox, ...]
    recent_executions: tuple[Execution, ...]
    usage_today: UsageToday


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request without fields."""


@operation(
    "sandboxes.dashboard",
    http="GET /dashboard",
    needs="sandboxes.dashboard",
    effect=Effect.NONE,
    example=Example(),
)
async def dashboard(sandboxes: SandboxesService, unit: Unit, request: Nothing) -> DashboardData:
    """Show live sandboxes, the last ten executions of 24 hours, and the day's totals."""
    live, recent, totals = await sandboxes.repository.dashboard(unit, 10)
    return DashboardData(
        sandboxes=tuple(live),
        recent_executions=tuple(recent),
        usage_today=UsageToday(total=totals["count"], total_duration=totals["duration_ms"] or 0),
    )


class SummaryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str
    hours: Annotated[int, msgspec.Meta(ge=1, le=744, description="How far back to look")] = 24


class ResourceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Average and peak use in per cent of the limits; null where nothing was sampled."""

    avg_cpu: Decimal | None
    peak_cpu: Decimal | None
    avg_memory: Decimal | None
    peak_memory: Decimal | None
    data_points: int


@operation(
    "sandboxes.resource_summary",
    http="GET /sandboxes/{sandbox_id}/resource-summary",
    needs="sandboxes.resource_summary",
    effect=Effect.NONE,
    example=Example({"sandbox_id": "$sandboxes.create/id"}),
)
async def resource_summary(
    sandboxes: SandboxesService, unit: Unit, request: SummaryRequest
) -> ResourceSummary:
    """Summarise what a sandbox used over a window."""
    window = timedelta(hours=request.hours)
    sandbox, figures = await sandboxes.repository.metric_summary(unit, request.sandbox_id, window)
    if sandbox is None:
        raise NotFound(f"there is no sandbox {request.sandbox_id}", extra={"resource": "sandboxes"})
    return ResourceSummary(**figures)


SANDBOXES = (
    create_sandbox,
    get_sandbox,
    list_sandboxes,
    terminate_sandbox,
    dashboard,
    resource_summary,
)
