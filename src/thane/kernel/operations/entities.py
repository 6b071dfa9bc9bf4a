"""The kernel's own rows of operations. None has history: the ledger's entries are the record.

`open_intents` names an intent by its index only; the intent itself is sealed in that
entry's details. Times here are microseconds, because they are compared, never shown.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar

import msgspec

from thane.kernel.context import Context
from thane.kernel.records.engine import Change, Operation
from thane.kernel.records.entity import Field, Index, Record, entity, field, key, schema_of

R = TypeVar("R", "IdempotencyRow", "OpenIntent", "AccessRow")


class KeyState(StrEnum):
    OPEN = "open"
    SETTLED = "settled"


@entity("idempotency", "idm", Index("expires_us"), history=False)
class IdempotencyRow(Record):
    """What became of the request that carried a key. `id` is derived from tenant, principal, operation
    and key, so that a race for one key is a race for one row. `digest` is keyed with the key itself:
    a body with a guessable secret cannot be found out from it."""

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    principal_id: Field[str] = field()
    operation: Field[str] = field()
    digest: Field[bytes] = field()
    state: Field[KeyState] = field(default=KeyState.OPEN)
    entry_index: Field[int | None] = field()
    intent_index: Field[int | None] = field()
    resource: Field[str | None] = field()
    expires_us: Field[int] = field()


@entity(
    "open_intents",
    "int",
    Index("lease_until_us"),
    Index("tenant_id", "intent_index", unique=True),
    history=False,
)
class OpenIntent(Record):
    """An effect under way. Whoever deletes this row with its fence writes the one outcome."""

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    intent_index: Field[int] = field()
    operation: Field[str] = field()
    server_id: Field[str] = field()
    lease_until_us: Field[int] = field()
    fence: Field[int] = field(default=1)
    idempotency_id: Field[str | None] = field()
    user_id: Field[str | None] = field()


@entity(
    "access_rows",
    "acc",
    Index("tenant_id", "created_at DESC"),
    Index("tenant_id", "user_id", "created_at DESC"),
    Index("tenant_id", "resource_type", "resource_id", "created_at DESC"),
    history=False,
)
class AccessRow(Record):
    """A request that left no entry: a read, or one that was refused. `code` is the error's."""

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    principal_id: Field[str] = field()
    principal_kind: Field[str] = field()
    user_id: Field[str | None] = field()
    operation: Field[str] = field()
    resource_type: Field[str] = field()
    resource_id: Field[str | None] = field()
    status: Field[int] = field()
    code: Field[str | None] = field()
    ip_address: Field[str | None] = field()
    user_agent: Field[str | None] = field()
    request_id: Field[str] = field()
    run_id: Field[str | None] = field()
    created_at: Field[datetime] = field()


ENTITIES = (IdempotencyRow, OpenIntent, AccessRow)


def idempotency_id(context: Context, operation: str, key: str) -> str:
    """The row's id: the key's scope is tenant, principal and operation."""
    scope = "\0".join((context.tenant_id, context.principal.id, operation, key))
    return f"idm_{sha256(scope.encode()).hexdigest()[:32]}"


def intent_id(tenant_id: str, index: int) -> str:
    """The row's id, from the intent's place in the ledger."""
    return f"int_{sha256(f'{tenant_id}/{index}'.encode()).hexdigest()[:32]}"


def placed(row: R, verb: Operation, expected: int) -> Change:
    """A change of one of these rows, for `Entrant.place` and for what rides."""
    made = msgspec.structs.replace(row, version=expected + 1)  # type: ignore[type-var]
    return Change(verb, schema_of(row), row.id, made, expected, None, {}, {})
