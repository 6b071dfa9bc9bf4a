"""The unit that ends an intent: one outcome, by whoever deletes the open intent with its fence.

Used by the flow that acted and by the reconciler, so that both write the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from thane.kernel.context import Context
from thane.kernel.errors import Conflict
from thane.kernel.ledger.leaf import Kind
from thane.kernel.operations.call import Reply
from thane.kernel.operations.details import answer, details, place_of, recorded
from thane.kernel.operations.entities import IdempotencyRow, KeyState, OpenIntent, intent_id, placed
from thane.kernel.operations.registry import Bound
from thane.kernel.operations.spool import Spool
from thane.kernel.records.engine import Change, Operation
from thane.kernel.records.prepare import Entrant
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit


class Superseded(Conflict):
    """Another process has taken the intent over and writes, or wrote, its outcome."""

    code = "superseded"
    title = "Settled by another"
    default_hint = "Read the resource: its outcome is, or will be, in the ledger."


# Outcomes kept in memory; past it the reconciler asks `recover` once their leases have run out.
UNRECORDED_MOST = 1000


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """The right to settle one intent, as long as the fence holds."""

    tenant_id: str
    intent_index: int
    fence: int
    idempotency_id: str | None
    resource: str | None

    @property
    def id(self) -> str:
        return intent_id(self.tenant_id, self.intent_index)


class Settler:
    """Settles intents. Keeps an answer that could not be committed until it is asked for or forgotten.

    `unrecorded` keeps, by open intent, the outcomes that the spool refused too: while this process
    lives its reconciler writes them as soon as the store takes anything again.

    `held` names the open intents that this process is working on: its reconciler leaves them
    alone, whatever their lease.
    """

    def __init__(self, records: Records, spool: Spool) -> None:
        self._records = records
        self.spool = spool
        self.held: set[str] = set()
        self.unrecorded: dict[str, bytes] = {}
        self._answers: dict[str, bytes] = {}

    def keep(self, ticket: Ticket, outcome: bytes) -> None:
        """Remember an outcome (the operation's own struct, as JSON) that lies nowhere else."""
        if len(self.unrecorded) < UNRECORDED_MOST:
            self.unrecorded[ticket.id] = outcome

    def last_answer(self, ticket: Ticket) -> bytes | None:
        """The answer that `settle` made before its commit failed."""
        return self._answers.get(ticket.id)

    def forget(self, ticket: Ticket) -> None:
        self._answers.pop(ticket.id, None)

    async def settle(
        self, bound: Bound, context: Context, ticket: Ticket, intent: Any, outcome: Any
    ) -> Reply:
        """Write the outcome. Superseded if the fence does not hold; any error leaves the intent as it was."""
        outside = bound.outside
        assert outside is not None
        word = outside.word(outcome)
        key: IdempotencyRow | None = None

        async def handler(unit: Unit) -> Any:
            nonlocal key
            row = await unit.find(OpenIntent, ticket.id)
            if row is None or row.fence != ticket.fence:
                raise Superseded(
                    f"intent {ticket.intent_index} is another's to settle",
                    extra={"final": True, "intent_index": ticket.intent_index, "resource": ticket.resource},
                )
            await unit.delete(row)
            key = await self._key(unit, ticket)
            return await outside.settle(unit, intent, outcome)

        reply = Reply(
            status=bound.status, body=b"", intent_index=ticket.intent_index, resource=ticket.resource
        )
        stored = b""

        def entrant(unit: Unit, value: Any) -> Entrant:
            nonlocal stored
            body, stored = answer(bound, value)
            self._answers[ticket.id] = body
            reply.body, reply.value = body, value
            row = key

            def place(index: int, time_us: int) -> tuple[Change, ...]:
                if row is None:
                    return ()
                done = msgspec.structs.replace(row, state=KeyState.SETTLED, entry_index=index)  # type: ignore[type-var]
                return (placed(done, Operation.UPDATE, row.version),)

            return Entrant(
                kind=Kind.OUTCOME,
                operation=bound.name,
                outcome=word,
                subject=context.principal.subject,
                resource=ticket.resource,
                intent=ticket.intent_index,
                details=details(context, result=stored),
                place=place,
            )

        result = await self._records.run(context, handler, entrant)
        self.forget(ticket)
        committed = result.committed
        reply.index = committed.index
        reply.leaf_hash = None if committed.leaf_hash is None else committed.leaf_hash.hex()
        reply.body = recorded(reply.body, place_of(reply), word)
        return reply

    async def _key(self, unit: Unit, ticket: Ticket) -> IdempotencyRow | None:
        """The row of this intent's Idempotency-Key; None if it ran out and is another request's now."""
        if ticket.idempotency_id is None:
            return None
        row = await unit.find(IdempotencyRow, ticket.idempotency_id)
        return row if row is not None and row.intent_index == ticket.intent_index else None
