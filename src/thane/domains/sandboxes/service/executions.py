"""Rules of executions: prepared, acted through the isolation port, settled with their bill.

`prepare` and `settle` write through the unit they are given; `act` has none. The status
is decided by the verdict alone. What is charged is bounded by what was reserved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from thane.domains.billing import BillingService
from thane.domains.sandboxes.entities import (
    BillingInfo,
    Execution,
    ExecutionOutput,
    ExecutionStatus,
    Sandbox,
    SandboxStatus,
)
from thane.domains.sandboxes.errors import SandboxTerminated
from thane.domains.sandboxes.repository import SandboxesRepository
from thane.domains.sandboxes.service.artifacts import Artifacts
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
from thane.domains.sandboxes.service.slots import Slots
from thane.kernel.clock import Clock
from thane.kernel.errors import Invalid, IsolationUnavailable
from thane.kernel.ids import IdFactory
from thane.kernel.ports.budgets import Budgets, Reservation
from thane.kernel.ports.isolation import (
    InputFile,
    Isolation,
    Job,
    Limits,
    Outcome,
    OutputChunk,
    Sample,
    Tier,
    Usage,
    Verdict,
)
from thane.kernel.records import Unit

CHUNKS_MOST = 4_000
# A job that is told to stop is reaped by the isolation program within about a second.
REAPED_SECONDS = 5.0
REAPED_PAUSE = 0.01
Meter = Callable[[str, str], None]
Started = Callable[[str, str], Awaitable[None]]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be run. What the program is given beside its code is transient and not in it."""

    id: str
    sandbox_id: str
    project_id: str
    user_id: str
    language: str
    limits: Limits
    reservation: Reservation
    plan: str
    queued: bool
    tenant_id: str


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is run with."""

    code: bytes
    env: dict[str, str]
    stdin: bytes
    files: tuple[InputFile, ...]


class ExecutionsService:
    """Runs code for tenants."""

    def __init__(  # noqa: PLR0913 - its collaborators, by name
        self,
        *,
        isolation: Isolation,
        billing: BillingService,
        budgets: Budgets,
        bounds: Bounds,
        artifacts: Artifacts,
        slots: Slots,
        minimum_tier: Tier,
        clock: Clock,
        ids: IdFactory,
        meter: Meter,
    ) -> None:
        self.repository = SandboxesRepository()
        self.artifacts = artifacts
        self.started: Started | None = None  # tells that a queued execution now runs; set by bootstrap
        self._isolation = isolation
        self._billing = billing
        self._budgets = budgets
        self._bounds = bounds
        self._slots = slots
        self._minimum_tier = minimum_tier
        self._clock = clock
        self._ids = ids
        self._meter = meter
        self._acting: set[str] = set()

    # -- before -----------------------------------------------------------------------------

    async def prepare(
        self, unit: Unit, sandbox_id: str, code: str, language: str | None, wanted: WantedLimits | None
    ) -> Intent:
        """The execution's row, the sandbox's first start, the reservation."""
        context = unit.context
        sandbox = await unit.get(Sandbox, sandbox_id)
        if sandbox.status is SandboxStatus.TERMINATED:
            raise SandboxTerminated(f"the sandbox {sandbox_id} is terminated")
        limits = self._bounds.limits(wanted, sandbox.resource_limits)
        port = port_limits(limits)
        plan = context.principal.plan
        most = self._billing.most(
            cpu_millicores=port.cpu_millicores,
            memory_bytes=port.memory_bytes,
            timeout_ms=port.timeout_ms,
            plan=plan,
        )
        reservation = await self._budgets.reserve(unit, most, "sandboxes.execute")
        execution_id = unit.new_id(Execution)
        if sandbox.status is SandboxStatus.CREATED:
            await unit.update(sandbox, status=SandboxStatus.RUNNING, started_at=unit.now)
        user_id = context.user_id or sandbox.user_id
        runs_now = self._slots.take_now(execution_id)  # given back by `release`
        unit.create(
            Execution(
                id=execution_id,
                tenant_id=context.tenant_id,
                project_id=sandbox.project_id,
                sandbox_id=sandbox.id,
                user_id=user_id,
                run_id=context.run_id,
                code=code,
                language=language or sandbox.language,
                status=ExecutionStatus.RUNNING if runs_now else ExecutionStatus.QUEUED,
                created_at=unit.now,
                started_at=unit.now if runs_now else None,
            )
        )
        return Intent(
            id=execution_id,
            sandbox_id=sandbox.id,
            project_id=sandbox.project_id,
            user_id=user_id,
            language=language or sandbox.language,
            limits=port,
            reservation=reservation,
            plan=plan,
            queued=not runs_now,
            tenant_id=context.tenant_id,
        )

    def release(self, intent: Intent) -> None:
        """Give the slot back that `prepare` took: its unit was not committed, or the act has ended."""
        self._slots.release(intent.id)

    async def mark_started(self, unit: Unit, execution_id: str) -> Execution:
        """queued → running, when a slot was waited for."""
        execution = await unit.get(Execution, execution_id)
        return await unit.update(
            execution, when=self.repository.queued(), status=ExecutionStatus.RUNNING, started_at=unit.now
        )

    # -- the act ----------------------------------------------------------------------------

    async def act(
        self, intent: Intent, given: Given, progress: Callable[[msgspec.Struct], Awaitable[None]]
    ) -> Done:
        """Run it. Ends with a Done also when it is cancelled."""
        self._acting.add(intent.id)
        try:
            if intent.queued:
                try:
                    await self._slots.take(intent.id)
                except asyncio.CancelledError:
                    verdict = without_run(intent.id, Outcome.CANCELLED, "cancelled while it was queued")
                    return Done(verdict=verdict, stdout=b"", stderr=b"", started=False)
                if self.started is not None:
                    await self.started(intent.tenant_id, intent.id)
            return await self._run(intent, given, progress)
        finally:
            self._slots.release(intent.id)
            self._acting.discard(intent.id)

    async def _run(
        self, intent: Intent, given: Given, progress: Callable[[msgspec.Struct], Awaitable[None]]
    ) -> Done:
        job = Job(
            id=intent.id,
            sandbox_id=intent.sandbox_id,
            code=given.code,
            language=intent.language,
            limits=intent.limits,
            minimum_tier=self._minimum_tier,
            env=given.env,
            stdin=given.stdin,
            files=given.files,
        )
        streams: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        samples, chunks = 0, 0
        last = Usage()
        verdict: Verdict | None = None
        refused: str | None = None
        try:
            async for event in self._isolation.run(job):
                if isinstance(event, OutputChunk):
                    streams[event.stream].append(event.data)
                    await progress(Output(chunks, event.stream, event.data))
                    chunks += 1
                elif isinstance(event, Sample):
                    await progress(Metric.of(samples, event, last, intent.limits, self._clock))
                    samples, last = samples + 1, event.usage
                else:
                    verdict = event
        except asyncio.CancelledError:
            # Closing the iterator has cancelled the job; what it used until then is known to the program.
            verdict = await self._last_word(intent.id) or without_run(
                intent.id, Outcome.CANCELLED, "cancelled by the caller"
            )
        except (Invalid, IsolationUnavailable) as fault:
            # It was not run, and asking for it again would not say why.
            refused = fault.code
            verdict = without_run(intent.id, Outcome.FAILED, f"{fault.message}. {fault.hint}".strip(". "))
        if verdict is None:
            verdict = without_run(intent.id, Outcome.HOST_LOST, "the isolation program gave no verdict")
        if verdict.usage.wall_us:
            end = Sample(at_us=verdict.usage.wall_us, usage=verdict.usage, memory_bytes=0)
            await progress(Metric.of(samples, end, last, intent.limits, self._clock))
        # What was refused has no workspace, and the program that would say so may not even be there.
        files = await self._collect(intent.id, verdict) if refused is None else ()
        return Done(
            verdict=verdict,
            stdout=b"".join(streams["stdout"]),
            stderr=b"".join(streams["stderr"]),
            files=files,
            refused=refused,
        )

    async def _last_word(self, job_id: str) -> Verdict | None:
        """The verdict of a job that was told to stop, with what it used; it takes a moment to be reaped."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REAPED_SECONDS
        while True:
            verdict = await self._isolation.recall(job_id)
            if verdict is not None or loop.time() > deadline:
                return verdict
            await asyncio.sleep(REAPED_PAUSE)

    async def _collect(self, job_id: str, verdict: Verdict) -> tuple[str, ...]:
        """Take the produced files out of the jail's workspace."""
        if not verdict.files:
            await self._isolation.release(job_id)
            return ()
        taken = await self._isolation.collect(job_id, self.artifacts.place(job_id))
        await self._isolation.release(job_id)
        self.artifacts.discard_if_empty(job_id)
        return tuple(sorted(f.name for f in taken))

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
        settled = await unit.update(
            execution,
            when=self.repository.unfinished(),
            status=status,
            completed_at=unit.now,
            duration_ms=duration_ms,
            output=ExecutionOutput(
                stdout=stdout, stderr=stderr, return_code=verdict.exit_code, files=list(done.files)
            ),
            error=error_of(verdict, stderr, done.refused),
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
        if intent.id in self._acting:
            return None
        verdict = await self._isolation.recall(intent.id)
        if verdict is None:
            message = "the server or its isolation program ended while this ran; run it again"
            verdict = without_run(intent.id, Outcome.HOST_LOST, message)
        return Done(verdict=verdict)


def _text(data: bytes) -> str:
    """Bytes as text. NUL cannot stand in a text column everywhere, so it is replaced too."""
    return data.decode("utf-8", "replace").replace("\x00", "\ufffd")
