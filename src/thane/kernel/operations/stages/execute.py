"""Stage: run the handler in its unit and commit; for an effect outside, hand over to `outside.py`.

Inside the unit the order is: idempotency, rules, If-Match, handler, so that all of them are
judged again when a conflict makes the unit run again.
"""

from __future__ import annotations

from typing import Any, Protocol

from thane.kernel.ledger.leaf import Kind
from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.declare import Effect
from thane.kernel.operations.details import answer, arguments, details
from thane.kernel.operations.stages.idempotency import Claim, Idempotency, Replayed
from thane.kernel.operations.stages.match import match
from thane.kernel.operations.stages.rules import JudgeRules
from thane.kernel.records.engine import Change
from thane.kernel.records.prepare import Entrant
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit

DONE = "done"


class Effects(Protocol):
    """Who runs effects outside: `thane.kernel.operations.outside.Effects`, which uses stages itself."""

    async def run(self, call: Call) -> Reply: ...


class Execute:
    def __init__(
        self, records: Records, idempotency: Idempotency, rules: JudgeRules, effects: Effects
    ) -> None:
        self._records = records
        self._idempotency = idempotency
        self._rules = rules
        self._effects = effects

    async def __call__(self, call: Call) -> Reply:
        """Do it and answer."""
        effect = call.operation.effect
        if effect is Effect.NONE:
            return await self._read(call)
        try:
            if effect is Effect.RECORDS:
                return await self._change(call)
            return await self._effects.run(call)
        except Replayed as again:
            call.resource = again.row.resource
            return await self._idempotency.replay(call.operation, again.row)

    async def _read(self, call: Call) -> Reply:
        bound = call.operation
        run = bound.run
        assert run is not None

        async def handler(unit: Unit) -> Any:
            await self._rules(unit, call)
            return await run(unit, call.request)

        value = await self._records.read(call.known, handler)
        if bound.streams:
            call.resource = value.about
            return Reply(status=bound.status, body=b"", resource=call.resource, value=value)
        body = getattr(value, bound.gives) if bound.gives else answer(bound, value)[0]
        return Reply(
            status=bound.status,
            body=b"" if bound.status == 204 else body,
            version=getattr(value, "version", None),
            resource=call.resource,
            value=value,
        )

    async def _change(self, call: Call) -> Reply:
        bound = call.operation
        run = bound.run
        assert run is not None
        reply = Reply(status=bound.status, body=b"")
        claim: Claim | None = None
        args = arguments(bound, call.request)

        async def handler(unit: Unit) -> Any:
            nonlocal claim
            claim = await self._idempotency.claim(unit, call)
            await self._rules(unit, call)
            await match(unit, call)
            return await run(unit, call.request)

        def entrant(unit: Unit, value: Any) -> Entrant:
            body, stored = answer(bound, value)
            reply.body = b"" if bound.status == 204 else body
            reply.value = value
            reply.version = getattr(value, "version", None)
            reply.resource = resource_of(call, value)
            made, resource = claim, reply.resource

            def place(index: int, time_us: int) -> tuple[Change, ...]:
                return () if made is None else (made.settled(call, index, resource),)

            return Entrant(
                kind=Kind.RECORD,
                operation=bound.name,
                outcome=DONE,
                subject=call.known.principal.subject,
                resource=resource,
                details=details(call.known, args=args, result=stored),
                place=None if made is None else place,
            )

        result = await self._records.run(call.known, handler, entrant)
        call.resource = reply.resource
        reply.index = result.committed.index
        leaf_hash = result.committed.leaf_hash
        reply.leaf_hash = None if leaf_hash is None else leaf_hash.hex()
        return reply


def resource_of(call: Call, value: Any) -> str | None:
    """What the entry is about: what was made, else what the path names, else what was answered."""
    made = getattr(value, "id", None)
    if call.operation.status == 201 and isinstance(made, str):
        return made
    if call.resource is not None:
        return call.resource
    return made if isinstance(made, str) else None
