"""Rules of sandboxes: made with limits that can be had, terminated once."""

from __future__ import annotations

from typing import Any

from thane.domains.sandboxes.entities import AlertAction, Sandbox, SandboxStatus
from thane.domains.sandboxes.errors import SandboxTerminated
from thane.domains.sandboxes.repository import SandboxesRepository
from thane.domains.sandboxes.service.limits import Bounds, WantedLimits
from thane.kernel.ports.isolation import Tier
from thane.kernel.records import Unit


class SandboxesService:
    """Sandboxes of one tenant, always through the caller's unit."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.repository = SandboxesRepository()

    async def create(
        self,
        unit: Unit,
        name: str | None,
        language: str,
        limits: WantedLimits | None,
        metadata: dict[str, Any],
        alert_action: AlertAction = AlertAction.NOTIFY,
        minimum_tier: Tier | None = None,
    ) -> Sandbox:
        """Only a record: the process starts with the first execution."""
        context = unit.context
        sandbox_id = unit.new_id(Sandbox)
        return unit.create(
            Sandbox(
                id=sandbox_id,
                tenant_id=context.tenant_id,
                project_id=context.project_id or "",
                user_id=context.user_id or "",
                name=name or f"sandbox-{sandbox_id[-8:]}",
                language=language,
                resource_limits=self.bounds.limits(limits),
                metadata=metadata,
                alert_action=alert_action,
                minimum_tier=None if minimum_tier is None else minimum_tier.value,
                created_at=unit.now,
            )
        )

    async def terminate(self, unit: Unit, sandbox_id: str) -> Sandbox:
        sandbox = await unit.get(Sandbox, sandbox_id)
        if sandbox.status is SandboxStatus.TERMINATED:
            raise SandboxTerminated(f"the sandbox {sandbox_id} is terminated already")
        return await unit.update(
            sandbox, status=SandboxStatus.TERMINATED, terminated_at=unit.now, container_id=None, contexts={}
        )
