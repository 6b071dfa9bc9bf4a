"""Named queries of sandboxes. Nothing else in this domain builds a predicate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from thane.domains.sandboxes.entities import (
    Execution,
    ExecutionChunk,
    ExecutionStatus,
    MetricSource,
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

    async def dashboard(
        self, unit: Unit, recent: int
    ) -> tuple[list[Sandbox], list[Execution], dict[str, Any]]:
        """Sandboxes that are created or running, the newest first; the last executions of 24 hours;
        the number and total duration of all of those. One round trip."""
        since = Execution.created_at > unit.now - timedelta(hours=24)
        sandboxes, executions, totals = await unit.ask(
            unit.rows_of(Sandbox, Sandbox.status.in_(LIVE), (Sandbox.created_at.desc(),), 100),
            unit.rows_of(Execution, since, (Execution.created_at.desc(),), recent),
            unit.figures_of(
                Execution, {"count": Measure("count"), "duration_ms": Measure("sum", "duration_ms")}, since
            ),
        )
        return sandboxes, executions, totals[0]

    async def metric_summary(
        self, unit: Unit, sandbox_id: str, window: timedelta
    ) -> tuple[Sandbox | None, dict[str, Any]]:
        """The sandbox, and its average and peak use over a window with the number of samples: one round
        trip. Figures that came by the API beside samples are not counted."""
        samples = (
            (ResourceMetric.sandbox_id == sandbox_id)
            & (ResourceMetric.timestamp > unit.now - window)
            & (ResourceMetric.source == MetricSource.SAMPLER)
        )
        measures = {
            "avg_cpu": Measure("avg", "cpu_usage"),
            "peak_cpu": Measure("max", "cpu_usage"),
            "avg_memory": Measure("avg", "memory_usage"),
            "peak_memory": Measure("max", "memory_usage"),
            "data_points": Measure("count"),
        }
        found, figures = await unit.ask(
            unit.rows_of(Sandbox, Sandbox.id == sandbox_id, (), 1),
            unit.figures_of(ResourceMetric, measures, samples),
        )
        return (found[0] if found else None), figures[0]

    async def last_metric(self, unit: Unit, execution_id: str) -> ResourceMetric | None:
        """An execution's newest sample."""
        rows = await unit.list(
            ResourceMetric, ResourceMetric.execution_id == execution_id, (ResourceMetric.seq.desc(),), 1
        )
        return rows[0] if rows else None
