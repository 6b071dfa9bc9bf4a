"""What sandboxes hands to the rest."""

from __future__ import annotations

from thane.domains.sandboxes import operations
from thane.domains.sandboxes.entities import Execution, ExecutionChunk, ResourceMetric, Sandbox
from thane.domains.sandboxes.service import ExecutionsService, SandboxesService
from thane.kernel.module import Module, Retention
from thane.kernel.records import schema_of

ENTITIES = (Sandbox, Execution, ExecutionChunk, ResourceMetric)


def module(sandboxes: SandboxesService, executions: ExecutionsService) -> Module:
    return Module(
        name="sandboxes",
        entities=ENTITIES,
        operations=((sandboxes, operations.SANDBOXES), (executions, operations.EXECUTIONS)),
        retention=(
            Retention(schema_of(ExecutionChunk), "created_at", "output_days"),
            Retention(schema_of(ResourceMetric), "timestamp", "metrics_days"),
        ),
    )
