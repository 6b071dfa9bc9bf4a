"""Rules of runs: opened, worked in, finished once."""

from __future__ import annotations

from thane.domains.runs.entities import Run, RunStatus
from thane.domains.runs.errors import RunFinished, RunUnknown
from thane.kernel.records import Unit


class RunsService:
    """Runs of one tenant, always through the caller's unit.

    It is also the first of the rules: what names a run must be in it.
    """

    async def judge(self, unit: Unit, operation: str, request: object) -> None:
        """The kernel's port of rules: an operation that names a run needs one of its tenant that is open."""
        await self.require_open(unit)

    async def open(self, unit: Unit, purpose: str) -> Run:
        context = unit.context
        return unit.create(
            Run(
                id=unit.new_id(Run),
                tenant_id=context.tenant_id,
                project_id=context.project_id or "",
                user_id=context.user_id or "",
                purpose=purpose,
                created_at=unit.now,
                updated_at=unit.now,
            )
        )

    async def rename(self, unit: Unit, run_id: str, purpose: str) -> Run:
        run = await unit.get(Run, run_id)
        if run.status is RunStatus.FINISHED:
            raise RunFinished(f"the run {run_id} is finished")
        return await unit.update(run, purpose=purpose)

    async def finish(self, unit: Unit, run_id: str, outcome: str | None) -> Run:
        run = await unit.get(Run, run_id)
        if run.status is RunStatus.FINISHED:
            raise RunFinished(f"the run {run_id} was finished already")
        return await unit.update(run, status=RunStatus.FINISHED, outcome=outcome, finished_at=unit.now)

    async def require_open(self, unit: Unit) -> None:
        """The run of the context, if there is one, must be open; guarded, so it stays open until then."""
        if unit.context.run_id is None:
            return
        run = await unit.find(Run, unit.context.run_id)
        if run is None:
            raise RunUnknown(f"there is no run {unit.context.run_id}")
        if run.status is not RunStatus.OPEN:
            raise RunFinished(f"the run {run.id} is finished")
