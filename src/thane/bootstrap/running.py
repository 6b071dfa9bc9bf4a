"""The services of sandboxes, wired: from settings and the isolation port to one module.

What happens while code runs is told through operations, so this is bound to the pipeline last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from thane.bootstrap.values import bounds, pace
from thane.domains.billing import BillingService
from thane.domains.sandboxes import (
    Alert,
    Artifacts,
    ContextsService,
    ExecutionsService,
    FilesService,
    Intent,
    MarkStarted,
    MemoryHigh,
    MetricsService,
    Runner,
    SandboxesService,
    Slots,
)
from thane.domains.sandboxes import module as sandboxes_module
from thane.kernel.clock import Clock
from thane.kernel.module import Module
from thane.kernel.ports.isolation import Isolation, Tier
from thane.kernel.ports.passthrough import NoBudgets
from thane.kernel.settings_schema import Settings
from thane.kernel.telemetry import Telemetry

AsSystem = Callable[[str, str, Any], Awaitable[Any]]


class Running:
    """All that belongs to running code."""

    def __init__(
        self,
        settings: Settings,
        *,
        isolation: Isolation,
        billing: BillingService,
        telemetry: Telemetry,
        artifacts: Path,
        slots: int,
        clock: Clock,
    ) -> None:
        limits, wanted = bounds(settings), settings.isolation
        kept, minimum = Artifacts(artifacts), Tier(wanted.minimum_tier)
        self.runner = Runner(
            isolation,
            artifacts=kept,
            slots=Slots(
                slots,
                wanted.max_queue,
                per_tenant=wanted.tenant_slots,
                per_project=wanted.project_slots,
            ),
            minimum_tier=minimum,
            pace=pace(settings, limits),
            clock=clock,
        )
        self.sandboxes = SandboxesService(limits)
        self.executions = ExecutionsService(
            self.runner,
            isolation=isolation,
            billing=billing,
            budgets=NoBudgets(),
            bounds=limits,
            artifacts=kept,
            meter=telemetry.execution,
        )
        self._contexts = ContextsService(isolation)
        self._files = FilesService(isolation, minimum)
        self._metrics = MetricsService(self.runner, clock)

    def module(self) -> Module:
        return sandboxes_module.module(
            self.sandboxes, self.executions, self._contexts, self._files, self._metrics
        )

    def tell(self, as_system: AsSystem) -> None:
        """Late starts and alerts become operations of Thane's own."""

        async def started(tenant_id: str, execution_id: str) -> None:
            await as_system("executions.start", tenant_id, MarkStarted(execution_id=execution_id))

        async def alerted(intent: Intent, alert: Alert) -> None:
            told = MemoryHigh(
                sandbox_id=intent.sandbox_id,
                execution_id=intent.id,
                user_id=intent.user_id,
                value=alert.value,
                threshold=alert.threshold,
                action=alert.action,
                taken=alert.taken,
                memory_mb=alert.memory_mb,
            )
            await as_system("sandbox.memory_high", intent.tenant_id, told)

        self.runner.started = started
        self.runner.alerted = alerted
