"""Named queries of sandboxes. Nothing else in this domain builds a predicate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from thane.domains.sandboxes.entities import (
    Execution,
    ExecutionChunk,
    ExecutionStatus,
    ResourceMetric,
    Sandbox,
    SandboxStatus,
)
from thane.kernel.records import Measure, Predicate, Unit

LIVE = (SandboxStatus.CREATED, SandboxStatus.RUNNING)


class SandboxesRepository:
    """Every method takes the unit, and with it the tenant."""

    def may_run(self) -> Predicate:
        """A sandbox in which something can be run."""
        return Sandbox.status != SandboxStatus.TERMINATED

    def unfinished(self) -> Predicate:
        """An execution whose outcome is not written yet."""
        return Execution.status.in_((ExecutionStatus.QUEUED, ExecutionStatus.RUNNING))

    def settled(self) -> Predicate:
        """An execution that is over: nothing is added to what it printed and used."""
        return ~self.unfinished()

    def queued(self) -> Predicate:
        return Execution.status == ExecutionStatus.QUEUED

    async def chunks(self, unit: Unit, execution_id: str, limit: int) -> list[ExecutionChunk]:
        """Output in the order in which it came."""
        return await unit.list(
            ExecutionChunk, ExecutionChunk.execution_id == execution_id, (ExecutionChunk.seq.asc(),), limit
        )

    async def live(self, unit: Unit) -> list[Sandbox]:
        """Sandboxes that are created or running, the newest first."""
        return await unit.list(Sandbox, Sandbox.status.in_(LIVE), (Sandbox.created_at.desc(),), 100)

    async def recent(self, unit: Unit, limit: int) -> list[Execution]:
        """The last executions of 24 hours."""
        since = unit.now - timedelta(hours=24)
        return await unit.list(Execution, Execution.created_at > since, (Execution.created_at.desc(),), limit)

    async def day_totals(self, unit: Unit) -> dict[str, Any]:
        """Number and total duration of the executions of 24 hours."""
        since = unit.now - timedelta(hours=24)
        rows = await unit.aggregate(
            Execution,
            {"count": Measure("count"), "duration_ms": Measure("sum", "duration_ms")},
            where=Execution.created_at > since,
        )
        return rows[0]

    async def metric_summary(self, unit: Unit, sandbox_id: str, window: timedelta) -> dict[str, Any]:
        """Average and peak use of a sandbox over a window, and how many samples that is."""
        rows = await unit.aggregate(
            ResourceMetric,
            {
                "avg_cpu": Measure("avg", "cpu_usage"),
                "peak_cpu": Measure("max", "cpu_usage"),
                "avg_memory": Measure("avg", "memory_usage"),
                "peak_memory": Measure("max", "memory_usage"),
                "data_points": Measure("count"),
            },
            where=(ResourceMetric.sandbox_id == sandbox_id) & (ResourceMetric.timestamp > unit.now - window),
        )
        return rows[0]
