"""Rules of executions: prepared, settled with their bill. `running` acts in between.

Everything here writes through the unit it is given. The status is decided by the verdict
alone. What is charged is bounded by what was reserved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from thane.domains.billing import BillingService
from thane.domains.sandboxes.entities import (
    BillingInfo,
    ContextState,
    Execution,
    ExecutionOutput,
    ExecutionStatus,
    Sandbox,
    SandboxStatus,
    SkippedFile,
)
from thane.domains.sandboxes.errors import LimitsOutOfRange, SandboxTerminated
from thane.domains.sandboxes.repository import SandboxesRepository
from thane.domains.sandboxes.service.artifacts import Artifacts
from thane.domains.sandboxes.service.intent import Intent
from thane.domains.sandboxes.service.limits import Bounds, WantedLimits, port_limits
from thane.domains.sandboxes.service.outcome import (
    Done,
    error_of,
    isolation_of,
    status_of,
    usage_of,
    without_run,
)
from thane.domains.sandboxes.service.progress import Metric, Output
from thane.domains.sandboxes.service.running import Runner
from thane.kernel.clock import from_us
from thane.kernel.errors import Fault, IllegalState
from thane.kernel.ports.budgets import Budgets
from thane.kernel.ports.isolation import Isolation, Outcome, Tier
from thane.kernel.records import Unit

CHUNKS_MOST = 4_000
CONTEXTS_MOST = 32  # of one sandbox; each is a process
SKIPPED_MOST = 100  # of what was not taken out, as many are named in an execution's row
Meter = Callable[[str, str], None]


class ExecutionsService:
    """Runs code for tenants."""

    def __init__(
        self,
        runner: Runner,
        *,
        isolation: Isolation,
        billing: BillingService,
        budgets: Budgets,
        bounds: Bounds,
        artifacts: Artifacts,
        meter: Meter,
    ) -> None:
        self.repository = SandboxesRepository()
        self.artifacts = artifacts
        self.runner = runner
        self._isolation = isolation
        self._billing = billing
        self._budgets = budgets
        self._bounds = bounds
        self._meter = meter

    # -- before -----------------------------------------------------------------------------

    async def prepare(
        self,
        unit: Unit,
        sandbox_id: str,
        code: str,
        language: str | None,
        wanted: WantedLimits | None,
        context_name: str | None = None,
    ) -> Intent:
        """The execution's row, the sandbox's first start, the reservation."""
        context = unit.context
        sandbox = await unit.get(Sandbox, sandbox_id)
        if sandbox.status is SandboxStatus.TERMINATED:
            raise SandboxTerminated(f"the sandbox {sandbox_id} is terminated")
        if context_name is not None:
            _check_limits_of_cell(wanted)
        limits = self._bounds.limits(wanted, sandbox.resource_limits)
        port = port_limits(limits)
        plan = context.principal.plan
        most = self._billing.most(
            cpu_millicores=port.cpu_millicores,
            memory_bytes=port.memory_bytes,
            timeout_ms=port.timeout_ms,
            plan=plan,
        )
        intent = Intent(
            id=unit.new_id(Execution),
            sandbox_id=sandbox.id,
            project_id=sandbox.project_id,
            user_id=context.user_id or sandbox.user_id,
            language=language or sandbox.language,
            limits=port,
            reservation=await self._budgets.reserve(unit, most, "sandboxes.execute"),
            plan=plan,
            queued=False,
            tenant_id=context.tenant_id,
            context=context_name,
            jail="" if context_name is None else sandbox.container_id or "",
            continues=sandbox.contexts.get(context_name or "") is ContextState.LIVE,
            alert_action=sandbox.alert_action,
            minimum_tier=Tier(sandbox.minimum_tier or Tier.T0),
        )
        await self._begin(unit, sandbox, context_name)
        runs_now = self.runner.slots.take_now(intent.id, intent.share)  # given back by `release`
        intent = msgspec.structs.replace(intent, queued=not runs_now)
        unit.create(_row(unit, intent, code))
        return intent

    async def _begin(self, unit: Unit, sandbox: Sandbox, context_name: str | None) -> None:
        """The sandbox's first start, and a context that is used without having been created."""
        changed: dict[str, Any] = {}
        if sandbox.status is SandboxStatus.CREATED:
            changed |= {"status": SandboxStatus.RUNNING, "started_at": unit.now}
        if context_name is not None and context_name not in sandbox.contexts:
            changed["contexts"] = with_context(sandbox, context_name, ContextState.CREATED)
        if changed:
            await unit.update(sandbox, **changed)

    def release(self, intent: Intent) -> None:
        """Give the slot back that `prepare` took: its unit was not committed, or the act has ended."""
        self.runner.slots.release(intent.id)

    async def mark_started(self, unit: Unit, execution_id: str) -> Execution:
        """queued → running, when a slot was waited for."""
        execution = await unit.get(Execution, execution_id)
        return await unit.update(
            execution, when=self.repository.queued(), status=ExecutionStatus.RUNNING, started_at=unit.now
        )

    async def keep(self, unit: Unit, intent: Intent, events: tuple[msgspec.Struct, ...]) -> None:
        """Progress as rows: output chunks and samples."""
        for event in events:
            if isinstance(event, Output):
                unit.create(event.row(unit, intent.tenant_id, intent.id))
            elif isinstance(event, Metric):
                unit.create(
                    event.row(unit, intent.tenant_id, intent.project_id, intent.sandbox_id, intent.id)
                )

    # -- after ------------------------------------------------------------------------------

    async def settle(self, unit: Unit, intent: Intent, done: Done) -> Execution:
        """The outcome, the bill, the counters: one unit."""
        execution = await unit.get(Execution, intent.id)
        stdout, stderr = await self._output(unit, intent.id, done)
        verdict = done.verdict
        bill = self._billing.bill(verdict.usage, intent.plan)
        charge = await self._budgets.settle(unit, intent.reservation, bill.cost_usd)
        duration_ms = -(-verdict.usage.wall_us // 1000)
        status = status_of(verdict)
        if intent.context is not None:
            await self._keep_state(unit, intent, done)
        settled = await unit.update(
            execution,
            when=self.repository.unfinished(),
            status=status,
            completed_at=unit.now if done.ended_us is None else from_us(done.ended_us),
            duration_ms=duration_ms,
            output=ExecutionOutput(
                stdout=stdout,
                stderr=stderr,
                return_code=verdict.exit_code,
                files=list(done.files),
                skipped=[SkippedFile(name=n, reason=r) for n, r in verdict.refused_files[:SKIPPED_MOST]],
                files_left_out=verdict.files_left_out,
            ),
            error=error_of(done, stderr),
            resource_usage=usage_of(verdict.usage),
            billing_info=BillingInfo(
                compute_units=bill.compute_units, cost_usd=charge.billed, billing_tier=bill.billing_tier
            ),
            isolation=isolation_of(verdict),
        )
        self._billing.book(
            unit,
            user_id=intent.user_id,
            project_id=intent.project_id,
            execution_id=intent.id,
            event_type="execution",
            amount=charge.billed,
            duration_ms=duration_ms,
            metadata={"compute_units": f"{bill.compute_units:f}", "unbilled": f"{charge.unbilled:f}"},
        )
        self._meter(status.value, verdict.tier.value)
        return settled

    async def _keep_state(self, unit: Unit, intent: Intent, done: Done) -> None:
        """What the sandbox's row knows of its jail and context. What was lost was told by this outcome."""
        sandbox = await unit.find(Sandbox, intent.sandbox_id)
        name = intent.context
        if sandbox is None or name is None or sandbox.status is SandboxStatus.TERMINATED:
            return
        verdict, jail, state = done.verdict, sandbox.container_id, sandbox.contexts.get(name)
        lost = done.refused == "sandbox_lost" or verdict.outcome is Outcome.HOST_LOST
        if lost or done.refused == "context_lost":
            jail = None if lost and jail == (intent.jail or jail) else jail
            state = None if state is None else ContextState.CREATED
        elif verdict.jail:
            gone = jail == verdict.jail and not verdict.jail_alive
            jail = verdict.jail if verdict.jail_alive else None if gone else jail
            alive = verdict.context_alive
            state = None if state is None else ContextState.LIVE if alive else ContextState.CREATED
        contexts = sandbox.contexts if state is None else with_context(sandbox, name, state)
        if (jail, contexts) != (sandbox.container_id, sandbox.contexts):
            await unit.update(sandbox, container_id=jail, contexts=contexts)

    async def _output(self, unit: Unit, execution_id: str, done: Done) -> tuple[str, str]:
        """Both streams as text; from the chunks in the store where the outcome does not hold them."""
        if done.stdout is not None and done.stderr is not None:
            return _text(done.stdout), _text(done.stderr)
        streams: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        for chunk in await self.repository.chunks(unit, execution_id, CHUNKS_MOST):
            streams[chunk.stream].append(chunk.data)
        return _text(b"".join(streams["stdout"])), _text(b"".join(streams["stderr"]))

    async def recover(self, intent: Intent) -> Done | None:
        """What became of it: None while it still runs here. Unknown to the program: lost, charged nothing."""
        if self.runner.is_acting(intent.id):
            return None
        verdict = await self._isolation.recall(intent.id)
        if verdict is None:
            message = "the server or its isolation program ended while this ran; run it again"
            verdict = without_run(intent.id, Outcome.HOST_LOST, message)
        return Done(verdict=verdict)


def with_context(sandbox: Sandbox, name: str, state: ContextState) -> dict[str, ContextState]:
    """The sandbox's contexts with one in this state. Too many are refused."""
    if name not in sandbox.contexts and len(sandbox.contexts) >= CONTEXTS_MOST:
        raise IllegalState(
            f"the sandbox {sandbox.id} has {CONTEXTS_MOST} contexts, which is the most",
            hint="Remove one, or use another sandbox.",
        )
    return {**sandbox.contexts, name: state}


def _row(unit: Unit, intent: Intent, code: str) -> Execution:
    """The execution as it begins: running, or waiting for a place."""
    return Execution(
        id=intent.id,
        tenant_id=intent.tenant_id,
        project_id=intent.project_id,
        sandbox_id=intent.sandbox_id,
        user_id=intent.user_id,
        run_id=unit.context.run_id,
        context=intent.context,
        code=code,
        language=intent.language,
        status=ExecutionStatus.QUEUED if intent.queued else ExecutionStatus.RUNNING,
        created_at=unit.now,
        started_at=None if intent.queued else unit.now,
    )


def _check_limits_of_cell(wanted: WantedLimits | None) -> None:
    """In a context only the time is an execution's own; all else is the sandbox's."""
    given = {} if wanted is None else msgspec.structs.asdict(wanted)
    wrong = [n for n, v in given.items() if v is not None and n != "max_execution_time_sec"]
    if wrong:
        why = "is the sandbox's: an execution in a context has a limit of time only"
        faults = tuple(Fault(f"/resource_limits/{n}", "not_allowed", why) for n in wrong)
        raise LimitsOutOfRange(f"{wrong[0]} {why}", faults=faults)


def _text(data: bytes) -> str:
    """Bytes as text. NUL cannot stand in a text column everywhere, so it is replaced too."""
    return data.decode("utf-8", "replace").replace("\x00", "\ufffd")
