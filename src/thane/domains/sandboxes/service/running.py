"""The act of an execution: run through the isolation port, watched, with its samples and alerts.

No unit is in reach here. What is written of it goes through `progress`, and through the two
operations of Thane's own that are told when it starts late and when an alert goes off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from thane.domains.sandboxes.service.alerts import Alert, Watch
from thane.domains.sandboxes.service.artifacts import Artifacts
from thane.domains.sandboxes.service.intent import Given, Intent
from thane.domains.sandboxes.service.outcome import Done, without_run
from thane.domains.sandboxes.service.progress import Metric, Output
from thane.domains.sandboxes.service.slots import Slots
from thane.kernel.clock import Clock
from thane.kernel.errors import Gone, Invalid, IsolationUnavailable, ThaneError
from thane.kernel.ports.isolation import (
    Isolation,
    Job,
    Outcome,
    OutputChunk,
    Sample,
    Tier,
    Usage,
    Verdict,
    stronger,
)

log = logging.getLogger(__name__)

# A job that is told to stop is reaped by the isolation program within about a second.
REAPED_SECONDS = 5.0
REAPED_PAUSE = 0.01
ENDED_MOST = 10_000  # sandboxes that are remembered as ended, for what was prepared before
Progress = Callable[[msgspec.Struct], Awaitable[None]]
Started = Callable[[str, str], Awaitable[None]]
Alerted = Callable[[Intent, Alert], Awaitable[None]]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How running code is watched: from the settings."""

    sample_ms: int = 1000
    alert_percent: int = 90
    most_memory_mb: int = 0
    idle_secs: int = 0


class _Act:
    """One execution at work in this process."""

    def __init__(self, intent: Intent, progress: Progress) -> None:
        self.intent = intent
        self.progress = progress
        self.task = asyncio.current_task()
        self.ending: str | None = None  # why Thane ends it
        self.last: Metric | None = None
        self.next = 0  # number of the next sample


class Runner:
    """Runs what was prepared."""

    def __init__(
        self,
        isolation: Isolation,
        *,
        artifacts: Artifacts,
        slots: Slots,
        minimum_tier: Tier,
        pace: Pace,
        clock: Clock,
    ) -> None:
        self.started: Started | None = None  # tells that a queued execution now runs; set by bootstrap
        self.alerted: Alerted | None = None  # tells of an alert; set by bootstrap
        self.slots = slots
        self._isolation = isolation
        self._artifacts = artifacts
        self._minimum_tier = minimum_tier
        self._pace = pace
        self._clock = clock
        self._acts: dict[str, _Act] = {}
        self._ended: dict[str, None] = {}

    def is_acting(self, execution_id: str) -> bool:
        return execution_id in self._acts

    async def act(self, intent: Intent, given: Given, progress: Progress) -> Done:
        """Run it. Ends with a Done also when it is cancelled."""
        act = self._acts[intent.id] = _Act(intent, progress)
        try:
            if intent.sandbox_id in self._ended:
                return _never(intent, "its sandbox was terminated before it started")
            if intent.queued:
                try:
                    await self.slots.take(intent.id, intent.share)
                except asyncio.CancelledError:
                    return _never(intent, act.ending or "cancelled while it was queued")
                if self.started is not None:
                    await self.started(intent.tenant_id, intent.id)
            return await self._run(act, given)
        finally:
            self.slots.release(intent.id)
            del self._acts[intent.id]

    async def end_sandbox(self, sandbox_id: str) -> None:
        """End what runs in a sandbox that was terminated, then its jail with all that it holds."""
        self._ended[sandbox_id] = None
        while len(self._ended) > ENDED_MOST:
            del self._ended[next(iter(self._ended))]
        tasks = []
        for act in self._acts.values():
            if act.intent.sandbox_id == sandbox_id and act.ending is None and act.task is not None:
                act.ending = "its sandbox was terminated"
                act.task.cancel()
                tasks.append(act.task)
        if tasks:
            await asyncio.wait(tasks, timeout=REAPED_SECONDS)
        await self._isolation.close_sandbox(sandbox_id)

    async def end_idle(self) -> None:
        """End the jails in which nothing has run for longer than the settings say."""
        if not self._pace.idle_secs:
            return
        busy = {act.intent.sandbox_id for act in self._acts.values()}
        for sandbox_id, seconds in (await self._isolation.idle()).items():
            if seconds > self._pace.idle_secs and sandbox_id not in busy:
                log.info("a sandbox was idle and has ended", extra={"sandbox": sandbox_id})
                await self._isolation.close_sandbox(sandbox_id)

    async def note(self, execution_id: str, values: dict[str, Any]) -> Metric | None:
        """Add figures to a running execution's samples; None if it does not run here."""
        act = self._acts.get(execution_id)
        if act is None or act.last is None:
            return None
        made = Metric.custom(msgspec.structs.replace(act.last, seq=act.next - 1), values, self._clock)
        act.next += 1
        await act.progress(made)
        return made

    async def _run(self, act: _Act, given: Given) -> Done:
        intent = act.intent
        streams: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        watch = Watch(
            self._isolation,
            intent.id,
            intent.limits,
            intent.alert_action,
            percent=self._pace.alert_percent,
            most_mb=self._pace.most_memory_mb,
        )
        chunks, last = 0, Usage()
        verdict: Verdict | None = None
        refused = stopped = None
        try:
            async for event in self._isolation.run(self._job(intent, given)):
                if isinstance(event, OutputChunk):
                    streams[event.stream].append(event.data)
                    await act.progress(Output(chunks, event.stream, event.data))
                    chunks += 1
                elif isinstance(event, Sample):
                    alert = await watch.look(await self._sampled(act, event, last, watch))
                    last = event.usage
                    if alert is not None:
                        stopped = alert.stopped or stopped
                        await self._tell(intent, alert)
                else:
                    verdict = event
        except asyncio.CancelledError:
            # Closing the iterator has cancelled the job; what it used until then is known to the program.
            verdict = await self._last_word(intent.id) or without_run(
                intent.id, Outcome.CANCELLED, "cancelled by the caller"
            )
            stopped = act.ending
        except (Gone, Invalid, IsolationUnavailable) as fault:
            # It was not run, and asking for it again would not say why.
            refused = fault.code
            verdict = without_run(intent.id, Outcome.FAILED, f"{fault.message}. {fault.hint}".strip(". "))
        if verdict is None:
            verdict = without_run(intent.id, Outcome.HOST_LOST, "the isolation program gave no verdict")
        if verdict.usage.wall_us:
            end = Sample(at_us=verdict.usage.wall_us, usage=verdict.usage, memory_bytes=0)
            await self._sampled(act, end, last, watch)
        return Done(
            verdict=verdict,
            stdout=b"".join(streams["stdout"]),
            stderr=b"".join(streams["stderr"]),
            # What was refused has no workspace, and the program that would say so may not even be there.
            files=await self._collect(intent, verdict) if refused is None else (),
            refused=refused,
            stopped=stopped,
            ended_us=self._clock.now_us(),
        )

    def _job(self, intent: Intent, given: Given) -> Job:
        return Job(
            id=intent.id,
            sandbox_id=intent.sandbox_id,
            code=given.code,
            language=intent.language,
            limits=intent.limits,
            minimum_tier=stronger(self._minimum_tier, intent.minimum_tier),
            env=given.env,
            stdin=given.stdin,
            files=given.files,
            context=intent.context,
            share=intent.tenant_id,
            # What lies in a living sandbox stays there, and is read there.
            collect=intent.context is None,
            jail=intent.jail,
            continues=intent.continues,
            sample_ms=self._pace.sample_ms,
        )

    async def _sampled(self, act: _Act, sample: Sample, last: Usage, watch: Watch) -> Any:
        """Keep a sample; the memory in use, in per cent."""
        act.last = Metric.of(act.next, sample, last, watch.limits, self._clock)
        act.next += 1
        await act.progress(act.last)
        return act.last.memory_usage

    async def _tell(self, intent: Intent, alert: Alert) -> None:
        if self.alerted is None:
            return
        try:
            await self.alerted(intent, alert)
        except ThaneError:
            # What was done about it stands; that nobody can read of it must not end the execution.
            log.exception("an alert was not recorded", extra={"execution": intent.id})

    async def _last_word(self, job_id: str) -> Verdict | None:
        """The verdict of a job that was told to stop, with what it used; it takes a moment to be reaped."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REAPED_SECONDS
        while True:
            verdict = await self._isolation.recall(job_id)
            if verdict is not None or loop.time() > deadline:
                return verdict
            await asyncio.sleep(REAPED_PAUSE)

    async def _collect(self, intent: Intent, verdict: Verdict) -> tuple[str, ...]:
        """Take the produced files out of the jail's workspace."""
        if intent.context is not None:
            return ()
        if not verdict.files:
            await self._isolation.release(intent.id)
            return ()
        taken = await self._isolation.collect(intent.id, self._artifacts.place(intent.id))
        await self._isolation.release(intent.id)
        self._artifacts.discard_if_empty(intent.id)
        return tuple(sorted(f.name for f in taken))


def _never(intent: Intent, why: str) -> Done:
    """The outcome of what was ended before it started."""
    verdict = without_run(intent.id, Outcome.CANCELLED, why)
    return Done(verdict=verdict, stdout=b"", stderr=b"", started=False)
