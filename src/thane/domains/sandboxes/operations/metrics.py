"""What can be asked of samples and alerts."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from thane.domains.sandboxes.entities import ResourceAlert, ResourceMetric, Sandbox
from thane.domains.sandboxes.operations.executions import ListByExecution, execution_of
from thane.domains.sandboxes.service import MemoryHigh, MetricsService
from thane.kernel.errors import Fault, Invalid
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.listing import ListRequest, list_page
from thane.kernel.paging import Page
from thane.kernel.records import Unit

CUSTOM_MOST = 16 << 10  # bytes of JSON


@operation(
    "resource_metrics.list",
    http="GET /executions/{execution_id}/metrics",
    needs="resource_metrics.list",
    effect=Effect.NONE,
    entity=ResourceMetric,
    lists=True,
    example=Example({"execution_id": "$sandboxes.execute/id"}),
)
async def list_metrics(metrics: MetricsService, unit: Unit, request: ListByExecution) -> Page[ResourceMetric]:
    """List an execution's samples of use, in per cent of its limits."""
    await execution_of(unit, request.execution_id)
    where = ResourceMetric.execution_id == request.execution_id
    return await list_page(unit, ResourceMetric, request, where=where, order=(ResourceMetric.seq.asc(),))


class RecordMetric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    execution_id: str
    custom_metrics: Annotated[
        dict[str, Any], msgspec.Meta(min_length=1, max_length=64, description="Figures of yours, by name")
    ]


@operation(
    "resource_metrics.record",
    http="POST /executions/{execution_id}/metrics",
    needs="resource_metrics.record",
    effect=Effect.RECORDS,
    entity=ResourceMetric,
    example=Example({"execution_id": "$sandboxes.execute/id", "custom_metrics": {"rows_read": 1200}}),
)
async def record_metric(metrics: MetricsService, unit: Unit, request: RecordMetric) -> ResourceMetric:
    """Add figures of yours to an execution's samples, while it runs or afterwards."""
    if len(msgspec.json.encode(request.custom_metrics)) > CUSTOM_MOST:
        detail = f"is longer than {CUSTOM_MOST} bytes of JSON"
        raise Invalid(f"custom_metrics {detail}", faults=(Fault("/custom_metrics", "too_large", detail),))
    execution = await execution_of(unit, request.execution_id)
    return await metrics.record(unit, execution, request.custom_metrics)


@operation(
    "sandbox.memory_high",
    http=None,
    needs="sandbox.memory_high",
    effect=Effect.RECORDS,
    entity=ResourceAlert,
    example=Example(
        {
            "sandbox_id": "$sandboxes.create/id",
            "execution_id": "$sandboxes.execute/id",
            "user_id": "usr_00000000000070008000000000000000",
            "value": "93.1",
            "threshold": "90",
            "action": "notify",
            "taken": "notified",
        }
    ),
)
async def memory_high(metrics: MetricsService, unit: Unit, request: MemoryHigh) -> ResourceAlert:
    """Note that an execution nears its memory limit, and what was done. Only Thane itself asks for it."""
    return await metrics.memory_high(unit, request)


class ListAlerts(ListRequest, frozen=True, kw_only=True):
    sandbox_id: str


@operation(
    "resource_alerts.list",
    http="GET /sandboxes/{sandbox_id}/alerts",
    needs="resource_alerts.list",
    effect=Effect.NONE,
    entity=ResourceAlert,
    lists=True,
    example=Example({"sandbox_id": "$sandboxes.create/id"}),
)
async def list_alerts(metrics: MetricsService, unit: Unit, request: ListAlerts) -> Page[ResourceAlert]:
    """List the alerts of a sandbox: when its executions neared their memory limit, and what was done."""
    await unit.get(Sandbox, request.sandbox_id)
    return await list_page(unit, ResourceAlert, request, where=ResourceAlert.sandbox_id == request.sandbox_id)


METRICS = (list_metrics, record_metric, memory_high, list_alerts)
