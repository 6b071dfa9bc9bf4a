"""What sandboxes hands to the rest."""

from __future__ import annotations

from thane.domains.sandboxes import operations
from thane.domains.sandboxes.entities import (
    Execution,
    ExecutionChunk,
    ResourceAlert,
    ResourceMetric,
    Sandbox,
)
from thane.domains.sandboxes.jobs import ending, sweeping
from thane.domains.sandboxes.repository import SandboxesRepository
from thane.domains.sandboxes.service import (
    ContextsService,
    ExecutionsService,
    FilesService,
    MetricsService,
    SandboxesService,
)
from thane.kernel.live.parent import Streamed
from thane.kernel.module import After, Module, Retention
from thane.kernel.records import schema_of

ENTITIES = (Sandbox, Execution, ExecutionChunk, ResourceMetric, ResourceAlert)


# Output and samples end with their execution.
STREAMS = tuple(
    Streamed(schema=schema_of(rows), parent=schema_of(Execution), settled=SandboxesRepository().settled())
    for rows in (ExecutionChunk, ResourceMetric)
)


def module(
    sandboxes: SandboxesService,
    executions: ExecutionsService,
    contexts: ContextsService,
    files: FilesService,
    metrics: MetricsService,
) -> Module:
    return Module(
        name="sandboxes",
        entities=ENTITIES,
        operations=(
            (sandboxes, operations.SANDBOXES),
            (executions, operations.EXECUTIONS),
            (contexts, operations.CONTEXTS),
            (files, operations.FILES),
            (metrics, operations.METRICS),
        ),
        subscriptions=(ending(executions.runner),),
        periodic=(sweeping(executions.runner),),
        retention=(
            Retention(
                schema=schema_of(ExecutionChunk),
                field="created_at",
                setting="output_days",
                after=After(schema_of(Execution), "execution_id", "completed_at"),
            ),
            Retention(schema=schema_of(ResourceMetric), field="timestamp", setting="metrics_days"),
        ),
        streams=STREAMS,
    )
