"""An effect outside the store: intent, act, settle (protocols.md, "An effect outside").

1. `prepare` and the intent's entry are one durable unit, with the rows `open_intents` and
   `idempotency`. A lost race ends here; nothing has acted.
2. `act` runs with no unit in reach, under a lease that is renewed.
3. `settle` is one unit that deletes the open intent by its fence, so there is exactly one
   outcome, whoever comes first: this task or a reconciler.
4. What `settle` cannot commit is spooled; what cannot be spooled is told (507).

Once the intent is committed the flow is a task of its own, which no connection's end can
cut between two steps: a hang-up without an Idempotency-Key ends `act`, and the outcome of
that is settled like any other.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import msgspec

from thane.kernel.clock import Clock
from thane.kernel.errors import InProgress, OutcomeUnrecorded, ThaneError, Unavailable
from thane.kernel.ledger.leaf import Kind
from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.declare import Outside, Progress, StillRunning
from thane.kernel.operations.details import arguments, details, recorded
from thane.kernel.operations.entities import OpenIntent, idempotency_id, intent_id, placed
from thane.kernel.operations.progress import Feed, ProgressWriter
from thane.kernel.operations.settle import Settler, Superseded, Ticket
from thane.kernel.operations.spool import Spooled, SpoolRefused
from thane.kernel.operations.stages.idempotency import Claim, Idempotency
from thane.kernel.operations.stages.match import match
from thane.kernel.operations.stages.rules import JudgeRules
from thane.kernel.records.engine import Change, Operation
from thane.kernel.records.prepare import Entrant
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit
from thane.kernel.sealing.errors import SealingError

log = logging.getLogger(__name__)

LEASE_US: Final = 15_000_000
# How long an act that failed is asked after before it is left to the reconciler.
ASK_SECONDS: Final = (0.0, 0.05, 0.2, 0.5, 1.0)


class Flow:
    """One effect under way in this process."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.stopped = False
        self.acting: asyncio.Task[Any] | None = None
        self.task: asyncio.Task[Reply] | None = None

    def stop(self) -> None:
        """End the act; what became of it is still settled, which a second call does not cut short."""
        if self.stopped:
            return
        self.stopped = True
        if self.acting is not None:
            self.acting.cancel()


class Effects:
    """Runs OUTSIDE operations."""

    def __init__(
        self,
        records: Records,
        clock: Clock,
        idempotency: Idempotency,
        rules: JudgeRules,
        settler: Settler,
        server_id: str,
        *,
        lease_us: int = LEASE_US,
    ) -> None:
        self._records = records
        self._clock = clock
        self._idempotency = idempotency
        self._rules = rules
        self._settler = settler
        self.server_id = server_id
        self.lease_us = lease_us
        self._flows: set[Flow] = set()
        self._by_key: dict[str, Flow] = {}

    async def run(self, call: Call) -> Reply:
        """All steps. Cancelling this is the caller hanging up."""
        flow = Flow()
        if call.listener is not None:
            flow.feed.attach(call.listener)
        flow.task = asyncio.create_task(self._steps(call, flow))
        flow.task.add_done_callback(_noticed)
        self._flows.add(flow)
        try:
            return await asyncio.shield(flow.task)
        except asyncio.CancelledError:
            if call.idempotency_key is None:
                flow.stop()
            raise
        except InProgress:
            other = self._attachable(call)
            if other is None:
                raise
            return await self._attached(call, other)

    async def drain(self, seconds: float) -> None:
        """At shutdown: let what is under way end, then end it; nothing is left half settled by us."""
        tasks = [f.task for f in self._flows if f.task is not None]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        if late:
            for flow in tuple(self._flows):
                flow.stop()
            await asyncio.wait(late, timeout=max(1.0, seconds))

    @property
    def under_way(self) -> int:
        return len(self._flows)

    # -- attaching --------------------------------------------------------------------------

    def _attachable(self, call: Call) -> Flow | None:
        if call.listener is None or call.idempotency_key is None:
            return None
        return self._by_key.get(idempotency_id(call.known, call.operation.name, call.idempotency_key))

    async def _attached(self, call: Call, flow: Flow) -> Reply:
        assert call.listener is not None
        assert flow.task is not None
        flow.feed.attach(call.listener)
        try:
            return await asyncio.shield(flow.task)
        finally:
            flow.feed.detach(call.listener)

    # -- the steps --------------------------------------------------------------------------

    async def _steps(self, call: Call, flow: Flow) -> Reply:
        try:
            intent, ticket = await self._prepare(call)
            self._settler.held.add(ticket.id)
            if ticket.idempotency_id is not None:
                self._by_key[ticket.idempotency_id] = flow
            try:
                outcome = await self._act(call, flow, intent, ticket)
                return await self._settle(call, intent, ticket, outcome)
            finally:
                self._settler.held.discard(ticket.id)
                if ticket.idempotency_id is not None:
                    self._by_key.pop(ticket.idempotency_id, None)
        finally:
            self._flows.discard(flow)

    async def _prepare(self, call: Call) -> tuple[Any, Ticket]:
        bound, context = call.operation, call.known
        outside = bound.outside
        assert outside is not None
        args = arguments(bound, call.request)
        claim: Claim | None = None
        prepared: list[Any] = []  # the intent of the unit that is not committed yet

        async def handler(unit: Unit) -> Any:
            nonlocal claim
            self._give_back(outside, prepared)
            unit.durable = True
            claim = await self._idempotency.claim(unit, call)
            await self._rules(unit, call)
            await match(unit, call)
            prepared.append(await outside.prepare(unit, call.request))
            return prepared[0]

        def entrant(unit: Unit, intent: Any) -> Entrant:
            call.resource = outside.key(intent) or call.resource
            made = claim

            def place(index: int, time_us: int) -> tuple[Change, ...]:
                return self._opened(call, made, index, time_us)

            return Entrant(
                kind=Kind.INTENT,
                operation=bound.name,
                outcome=None,
                subject=context.principal.subject,
                resource=call.resource,
                details=details(context, args=args, intent=intent),
                place=place,
            )

        try:
            result = await self._records.run(context, handler, entrant)
        except BaseException:
            self._give_back(outside, prepared)
            raise
        index = result.committed.index
        assert index is not None
        ticket = Ticket(
            tenant_id=context.tenant_id,
            intent_index=index,
            fence=1,
            idempotency_id=None if claim is None else claim.id,
            resource=call.resource,
        )
        return result.value, ticket

    def _opened(self, call: Call, claim: Claim | None, index: int, time_us: int) -> tuple[Change, ...]:
        """The rows that stand beside an intent's entry until it is settled."""
        context = call.known
        row = OpenIntent(
            id=intent_id(context.tenant_id, index),
            tenant_id=context.tenant_id,
            intent_index=index,
            operation=call.operation.name,
            server_id=self.server_id,
            lease_until_us=time_us + self.lease_us,
            fence=1,
            idempotency_id=None if claim is None else claim.id,
            user_id=context.user_id,
        )
        opened = placed(row, Operation.CREATE, 0)
        return (opened,) if claim is None else (opened, claim.opened(call, index, call.resource))

    @staticmethod
    def _give_back(outside: Outside[Any, Any, Any, Any], prepared: list[Any]) -> None:
        while prepared:
            outside.release(prepared.pop())

    async def _act(self, call: Call, flow: Flow, intent: Any, ticket: Ticket) -> Any:
        outside = call.operation.outside
        assert outside is not None

        async def keep(events: tuple[Any, ...]) -> None:
            await self._records.housekeep(call.known, lambda unit: outside.record(unit, intent, events))

        keeps = type(outside).record is not Outside.record
        progress = ProgressWriter(flow.feed, keep if keeps else None)
        renewing = asyncio.create_task(self._renew(call, ticket))
        acting = flow.acting = asyncio.create_task(_acting(outside, intent, call.request, progress))
        if flow.stopped:
            acting.cancel()
        try:
            # Unlike `await acting`, this tells our own cancellation from the act's.
            await asyncio.wait({acting})
            await progress.close()
            if not acting.cancelled() and acting.exception() is None:
                return acting.result()
            return await self._asked(call, intent, ticket, acting)
        finally:
            acting.cancel()
            renewing.cancel()
            outside.release(intent)  # the act may have been cancelled before its first step

    async def _asked(self, call: Call, intent: Any, ticket: Ticket, acting: asyncio.Task[Any]) -> Any:
        """The act broke off: `recover` knows what became of it, or the reconciler will find out."""
        outside = call.operation.outside
        assert outside is not None
        cause = None if acting.cancelled() else acting.exception()
        if cause is not None and not isinstance(cause, ThaneError):
            log.error("act failed", exc_info=cause, extra={"operation": call.operation.name})
        for seconds in ASK_SECONDS:
            await asyncio.sleep(seconds)
            try:
                found = await outside.recover(intent)
            except ThaneError as fault:
                log.warning(
                    "recover failed", extra={"operation": call.operation.name, "cause": fault.message}
                )
                continue
            if not isinstance(found, StillRunning):
                return found
        raise Unavailable(
            f"what became of {call.operation.name} is not known yet",
            hint=f"The reconciler settles intent {ticket.intent_index}; read the resource in a moment.",
            extra={"intent_index": ticket.intent_index, "resource": ticket.resource},
        ) from cause

    async def _renew(self, call: Call, ticket: Ticket) -> None:
        """Keep the lease while the act goes on. Ends when the intent has become someone else's."""
        while True:
            await asyncio.sleep(self.lease_us / 3_000_000)
            try:
                kept = await self._records.housekeep(call.known, lambda unit: self._extend(unit, ticket))
            except ThaneError as fault:
                log.warning(
                    "a lease was not renewed", extra={"intent": ticket.intent_index, "cause": fault.message}
                )
                continue
            if not kept:
                return

    async def _extend(self, unit: Unit, ticket: Ticket) -> bool:
        row = await unit.find(OpenIntent, ticket.id)
        if row is None or row.fence != ticket.fence:
            return False
        await unit.update(row, lease_until_us=self._clock.now_us() + self.lease_us)
        return True

    async def _settle(self, call: Call, intent: Any, ticket: Ticket, outcome: Any) -> Reply:
        try:
            return await self._settler.settle(call.operation, call.known, ticket, intent, outcome)
        except Superseded:
            raise
        except Exception:
            # Whatever it was, a full disk or a defect: the outcome must not be lost.
            log.exception("settle failed; the outcome is spooled", extra={"intent": ticket.intent_index})
            return await self._spool(call, ticket, outcome)
        finally:
            self._settler.forget(ticket)

    async def _spool(self, call: Call, ticket: Ticket, outcome: Any) -> Reply:
        bound, context = call.operation, call.known
        stored = msgspec.json.encode(outcome)
        body = recorded(self._settler.last_answer(ticket) or stored, None)
        item = Spooled(context.tenant_id, ticket.intent_index, bound.name, msgspec.Raw(stored))
        try:
            await self._settler.spool.put(item, context.principal.subject)
        except (SpoolRefused, SealingError) as refused:
            self._settler.keep(ticket, stored)
            raise OutcomeUnrecorded(
                f"{bound.name} was done, but neither the store nor the spool could take its outcome",
                extra={"result": msgspec.json.decode(body), "intent_index": ticket.intent_index},
            ) from refused
        return Reply(
            status=bound.status, body=body, intent_index=ticket.intent_index, resource=ticket.resource
        )


async def _acting(outside: Outside[Any, Any, Any, Any], intent: Any, request: Any, progress: Progress) -> Any:
    return await outside.act(intent, request, progress)


def _noticed(task: asyncio.Task[Reply]) -> None:
    """A flow whose caller has gone may fail unseen; its exception is taken here."""
    if not task.cancelled() and (fault := task.exception()) is not None and not isinstance(fault, ThaneError):
        log.debug("a flow ended with %r", fault)
