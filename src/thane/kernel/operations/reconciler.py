"""The reconciler: ends what a crash left open.

It takes an intent only when its lease has run out, its server is known to be dead, or its
outcome is known: from the spool, or from this process's memory where the spool refused it too.
It raises the fence, so that whoever acted cannot settle any more; then it settles what is
known, else asks `recover`. It acts as principal `system` and never repeats an effect. Two
reconcilers may run at once: the fence decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from thane.kernel.clock import Clock
from thane.kernel.context import Context, Principal, PrincipalKind
from thane.kernel.errors import IllegalState, ThaneError
from thane.kernel.ids import IdFactory
from thane.kernel.ledger.leaf import Leaf
from thane.kernel.operations.declare import StillRunning
from thane.kernel.operations.details import read_details
from thane.kernel.operations.entities import OpenIntent, intent_id
from thane.kernel.operations.outside import LEASE_US
from thane.kernel.operations.registry import Bound, Operations
from thane.kernel.operations.settle import Settler, Superseded, Ticket
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit

log = logging.getLogger(__name__)

AT_ONCE: Final = 500


class Tick(msgspec.Struct):
    """What one round did."""

    settled: int = 0
    running: int = 0
    failed: int = 0


class Reconciler:
    """Called by a job. `is_dead(server_id)` tells of predecessors that are certainly gone.

    A server id belongs to one start of one process. What this process itself works on is
    left alone: a lease it could not renew is no reason to take an intent from itself.
    """

    def __init__(
        self,
        records: Records,
        operations: Operations,
        settler: Settler,
        clock: Clock,
        ids: IdFactory,
        server_id: str,
        *,
        is_dead: Callable[[str], bool] = lambda server_id: False,
        lease_us: int = LEASE_US,
    ) -> None:
        self._records = records
        self._operations = operations
        self._settler = settler
        self._clock = clock
        self._ids = ids
        self._server_id = server_id
        self._is_dead = is_dead
        self._lease_us = lease_us

    async def tick(self) -> Tick:
        """Settle all that can be; what fails is logged and tried again when its lease has run out."""
        tick = Tick()
        spooled, kept = set(await self._settler.spool.waiting()), self._settler.unrecorded
        rows = await self._candidates(spooled)
        for row in rows:
            known = (row.tenant_id, row.intent_index) in spooled or row.id in kept
            try:
                await self._one(row, known, tick)
            except Superseded:
                log.info("an intent was settled by another", extra={"intent": row.intent_index})
            except ThaneError as fault:
                tick.failed += 1
                log.warning(
                    "an intent stays open",
                    extra={"intent": row.intent_index, "operation": row.operation, "cause": fault.message},
                )
            except Exception:
                # One operation's recover or settle must not keep the others' intents open.
                tick.failed += 1
                log.exception(
                    "an intent stays open", extra={"intent": row.intent_index, "operation": row.operation}
                )
            spooled.discard((row.tenant_id, row.intent_index))
        for tenant_id, index in spooled:
            await self._clear(tenant_id, index)
        return tick

    async def _candidates(self, spooled: set[tuple[str, int]]) -> list[OpenIntent]:
        now = self._clock.now_us()
        late = (OpenIntent.lease_until_us < now) | (OpenIntent.server_id != self._server_id)
        rows = await self._records.across(OpenIntent, late, AT_ONCE)
        found = {r.id: r for r in rows if r.lease_until_us < now or self._is_dead(r.server_id)}
        known = {*(intent_id(t, i) for t, i in spooled), *self._settler.unrecorded}
        missing = sorted(known - found.keys())[:AT_ONCE]
        if missing:
            found |= {
                r.id: r for r in await self._records.across(OpenIntent, OpenIntent.id.in_(missing), AT_ONCE)
            }
            for id in set(missing) - found.keys():  # another has settled it
                self._settler.unrecorded.pop(id, None)
        return [row for row in found.values() if row.id not in self._settler.held]

    async def _one(self, row: OpenIntent, spooled: bool, tick: Tick) -> None:
        bound = self._operations.find(row.operation)
        if (
            bound is None
            or bound.outside is None
            or bound.decode_intent is None
            or bound.decode_outcome is None
        ):
            raise IllegalState(
                f"no operation {row.operation} is known here", hint="Start the Thane that made this intent."
            )
        leaf, found, _ = await read_details(self._records, row.tenant_id, row.intent_index)
        context = self._context(row, leaf)
        taken = await self._take(context, row, spooled)
        if taken is None:
            return
        intent = bound.decode_intent(bytes(found.intent))
        outcome = await self._outcome(bound, row, intent)
        if isinstance(outcome, StillRunning):
            tick.running += 1
            return
        ticket = Ticket(
            tenant_id=row.tenant_id,
            intent_index=row.intent_index,
            fence=taken.fence,
            idempotency_id=row.idempotency_id,
            resource=leaf.resource,
        )
        try:
            await self._settler.settle(bound, context, ticket, intent, outcome)
        finally:
            self._settler.forget(ticket)
        tick.settled += 1
        self._settler.unrecorded.pop(row.id, None)
        await self._settler.spool.drop(row.tenant_id, row.intent_index)

    async def _outcome(self, bound: Bound, row: OpenIntent, intent: Any) -> Any:
        assert bound.outside is not None
        assert bound.decode_outcome is not None
        kept = self._settler.unrecorded.get(row.id)
        if kept is not None:
            return bound.decode_outcome(kept)
        waiting = await self._settler.spool.get(row.tenant_id, row.intent_index)
        if waiting is not None:
            return bound.decode_outcome(bytes(waiting.outcome))
        return await bound.outside.recover(intent)

    async def _take(self, context: Context, seen: OpenIntent, spooled: bool) -> OpenIntent | None:
        """Raise the fence by compare-and-set; None if another was faster."""

        async def handler(unit: Unit) -> OpenIntent | None:
            row = await unit.find(OpenIntent, seen.id)
            if row is None or row.fence != seen.fence:
                return None
            now = self._clock.now_us()
            if row.lease_until_us >= now and not self._is_dead(row.server_id) and not spooled:
                return None
            return await unit.update(
                row, fence=row.fence + 1, server_id=self._server_id, lease_until_us=now + self._lease_us
            )

        return await self._records.housekeep(context, handler)

    async def _clear(self, tenant_id: str, index: int) -> None:
        """A spool file whose intent is settled: the crash came between the commit and the removal."""
        try:
            await self._settler.spool.drop(tenant_id, index)
        except ThaneError as fault:
            log.warning("a settled spool file stays", extra={"intent": index, "cause": fault.message})

    def _context(self, row: OpenIntent, leaf: Leaf) -> Context:
        """Principal `system`, at the end of the actor chain; details stay sealed under the asker's key."""
        principal = Principal(
            kind=PrincipalKind.SYSTEM,
            id="system",
            tenant_id=row.tenant_id,
            user_id=row.user_id,
            role="system",
            permissions=frozenset({"*"}),
            actor_chain=(*leaf.actor, "system"),
        )
        return Context(
            tenant_id=row.tenant_id,
            principal=principal,
            request_id=self._ids.new("req"),
            now_us=self._clock.now_us(),
            project_id=leaf.project,
            run_id=leaf.run,
        )
