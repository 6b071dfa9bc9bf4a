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
from thane.domains.sandboxes.service.progress import Metric
from thane.domains.sandboxes.service.running import Runner
from thane.kernel.clock import Clock
from thane.kernel.errors import IllegalState
from thane.kernel.records import Unit

GIVEN_MOST = 10_000


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
        self._given: dict[str, int] = {}  # the last number given out, of executions that are over

    async def record(self, unit: Unit, execution: Execution, values: dict[str, Any]) -> ResourceMetric:
        """A sample with figures of the caller's, the next of its execution.

        While that runs here, its samples have one writer, which takes this one too. Afterwards this
        process is the writer, which remembers what it has given out and not yet committed.
        """
        ids = (execution.tenant_id, execution.project_id, execution.sandbox_id, execution.id)
        made = await self._runner.note(execution.id, values)
        if made is not None:
            return made.row(unit, *ids)
        if execution.completed_at is None:
            raise IllegalState(
                f"the execution {execution.id} is just starting or ending",
                hint="Send the figures again in a moment.",
            )
        last = await self.repository.last_metric(unit, execution.id)
        before = Metric(
            seq=max(-1 if last is None else last.seq, self._given.get(execution.id, -1)),
            timestamp=unit.now,
            cpu_usage=Decimal(0) if last is None else last.cpu_usage,
            memory_usage=Decimal(0) if last is None else last.memory_usage,
            disk_usage=Decimal(0) if last is None else last.disk_usage,
            network_usage=NetworkUsage() if last is None else last.network_usage,
        )
        metric = Metric.custom(before, values, self._clock)
        self._given.pop(execution.id, None)
        self._given[execution.id] = metric.seq
        while len(self._given) > GIVEN_MOST:
            del self._given[next(iter(self._given))]
        return unit.create(metric.row(unit, *ids))

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
