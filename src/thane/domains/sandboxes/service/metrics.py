"""Rules of figures that callers add to an execution, and of alerts that went off."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from thane.domains.sandboxes.entities import (
    AlertAction,
    Execution,
    NetworkUsage,
    ResourceAlert,
    ResourceMetric,
    Sandbox,
)
from thane.domains.sandboxes.repository import SandboxesRepository
from thane.domains.sandboxes.service.progress import Metric, metric_id
from thane.domains.sandboxes.service.running import Runner
from thane.kernel.clock import Clock
from thane.kernel.records import Unit


class MemoryHigh(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert that went off, as it is recorded. `memory_mb`: the limit as it was raised."""

    sandbox_id: str
    execution_id: str
    user_id: str
    value: Decimal
    threshold: Decimal
    action: AlertAction
    taken: str
    memory_mb: int | None = None


class MetricsService:
    def __init__(self, runner: Runner, clock: Clock) -> None:
        self.repository = SandboxesRepository()
        self._runner = runner
        self._clock = clock

    async def record(self, unit: Unit, execution: Execution, values: dict[str, Any]) -> ResourceMetric:
        """A sample with figures of the caller's, the next of its execution.

        While that runs here, its samples have one writer, which takes this one too; afterwards
        this unit is the writer, and a number that another one took meanwhile sends it round again.
        """
        made = await self._runner.note(execution.id, values)
        if made is not None:
            return made.row(
                unit, execution.tenant_id, execution.project_id, execution.sandbox_id, execution.id
            )
        last = await self.repository.last_metric(unit, execution.id)
        before = Metric(
            seq=-1,
            timestamp=unit.now,
            cpu_usage=Decimal(0),
            memory_usage=Decimal(0),
            disk_usage=Decimal(0),
            network_usage=NetworkUsage(),
        )
        if last is not None:
            before = Metric(
                seq=last.seq,
                timestamp=last.timestamp,
                cpu_usage=last.cpu_usage,
                memory_usage=last.memory_usage,
                disk_usage=last.disk_usage,
                network_usage=last.network_usage,
            )
        metric = Metric.custom(before, values, self._clock)
        await unit.find(ResourceMetric, metric_id(execution.id, metric.seq))  # guarded: it must stay free
        return unit.create(
            metric.row(unit, execution.tenant_id, execution.project_id, execution.sandbox_id, execution.id)
        )

    async def memory_high(self, unit: Unit, told: MemoryHigh) -> ResourceAlert:
        """Record an alert. A limit that was raised becomes the sandbox's."""
        sandbox = await unit.get(Sandbox, told.sandbox_id)
        limits = sandbox.resource_limits
        if told.memory_mb is not None and told.memory_mb > limits.max_memory_mb:
            raised = msgspec.structs.replace(limits, max_memory_mb=told.memory_mb)
            await unit.update(sandbox, resource_limits=raised)
        return unit.create(
            ResourceAlert(
                id=unit.new_id(ResourceAlert),
                tenant_id=sandbox.tenant_id,
                project_id=sandbox.project_id,
                sandbox_id=sandbox.id,
                execution_id=told.execution_id,
                user_id=told.user_id,
                metric="memory_usage",
                value=told.value,
                threshold=told.threshold,
                action=told.action,
                taken=told.taken,
                created_at=unit.now,
            )
        )
