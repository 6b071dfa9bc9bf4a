"""Stage: has this request been made before? One key, one effect, for a day (or what the settings say).

The row is written in the same unit as the effect, so there is no moment in which one stands
without the other. What it answers again comes out of the ledger's entry; nothing is kept
twice. A race for one key is a race for one row, which one of the units loses.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from thane.kernel.errors import Fault, IdempotencyReused, InProgress, Invalid
from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.declare import Effect
from thane.kernel.operations.details import place_of, read_details, recorded, version_of
from thane.kernel.operations.entities import IdempotencyRow, KeyState, idempotency_id, placed
from thane.kernel.operations.registry import Bound, Operations
from thane.kernel.records.engine import Change, Operation
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit

LIFETIME_US: Final = 24 * 3600 * 1_000_000
MAX_KEY: Final = 255
RETRY_AFTER: Final = 1.0

# Sorted, so that two spellings of one request are one request.
_encode = msgspec.json.Encoder(order="sorted").encode


class Replayed(Exception):
    """Ends a unit that has nothing to do: the request was settled before."""

    def __init__(self, row: IdempotencyRow) -> None:
        super().__init__(row.id)
        self.row = row


class Claim(msgspec.Struct, frozen=True):
    """A key that is this request's to use. `earlier` is an expired row that stands in its place."""

    id: str
    digest: bytes
    earlier: IdempotencyRow | None
    lifetime_us: int = LIFETIME_US

    def opened(self, call: Call, index: int, resource: str | None) -> Change:
        """The row of an effect that begins: its intent is entry `index`."""
        return self._change(call, KeyState.OPEN, None, index, resource)

    def settled(self, call: Call, index: int, resource: str | None) -> Change:
        """The row of a change that is done: its entry is `index`."""
        return self._change(call, KeyState.SETTLED, index, None, resource)

    def _change(
        self, call: Call, state: KeyState, entry: int | None, intent: int | None, resource: str | None
    ) -> Change:
        context = call.known
        expected = 0 if self.earlier is None else self.earlier.version
        row = IdempotencyRow(
            id=self.id,
            tenant_id=context.tenant_id,
            principal_id=context.principal.id,
            operation=call.operation.name,
            digest=self.digest,
            state=state,
            entry_index=entry,
            intent_index=intent,
            resource=resource,
            expires_us=context.now_us + self.lifetime_us,
        )
        verb = Operation.CREATE if self.earlier is None else Operation.UPDATE
        return placed(row, verb, expected)


class Idempotency:
    def __init__(self, records: Records, operations: Operations, *, lifetime_us: int = LIFETIME_US) -> None:
        self._records = records
        self._operations = operations
        self._lifetime_us = lifetime_us

    async def claim(self, unit: Unit, call: Call) -> Claim | None:
        """The key is ours (None without one). Raises Replayed, InProgress or IdempotencyReused."""
        key = call.idempotency_key
        if key is None:
            return None
        if not 0 < len(key) <= MAX_KEY or not key.isascii():
            raise Invalid(
                f"an Idempotency-Key has 1 to {MAX_KEY} ASCII characters",
                faults=(Fault("", "idempotency_key", "send a UUID"),),
            )
        context, bound = call.known, call.operation
        digest = sha256(key.encode() + b"\0" + _encode(call.request)).digest()
        id_ = idempotency_id(context, bound.name, key)
        # Guarded: of two at once the second must begin again, and find the answer, before its own writes
        # meet those of the first.
        row = await unit.find(IdempotencyRow, id_)
        if row is None or row.expires_us <= context.now_us:
            return Claim(id_, digest, row, self._lifetime_us)
        if row.digest != digest:
            raise IdempotencyReused(f"this Idempotency-Key was used for another {bound.name}")
        if row.state is KeyState.SETTLED:
            raise Replayed(row)
        where = None if row.resource is None else self._operations.location(bound, row.resource)
        extra: dict[str, object] = {
            "resource": row.resource,
            "location": where,
            "intent_index": row.intent_index,
        }
        raise InProgress(
            f"the first {bound.name} with this key is at work", retry_after=RETRY_AFTER, extra=extra
        )

    async def replay(self, bound: Bound, row: IdempotencyRow) -> Reply:
        """The first answer again, out of its entry. Gone if that was blanked or erased."""
        assert row.entry_index is not None
        leaf, found, leaf_hash = await read_details(self._records, row.tenant_id, row.entry_index)
        body = bytes(found.result)
        reply = Reply(
            status=bound.status,
            body=body,
            version=version_of(body),
            replayed=True,
            index=row.entry_index,
            leaf_hash=leaf_hash.hex(),
            intent_index=row.intent_index,
            resource=row.resource,
        )
        if bound.status == 204:
            reply.body = b""
        elif bound.effect is Effect.OUTSIDE:
            reply.version = None
            reply.body = recorded(body, place_of(reply), leaf.outcome or "done")
        return reply
