"""What can be asked of the audit and of the ledger."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from thane.domains.audit.entities import AuditLog
from thane.domains.audit.service import AuditService, CheckpointView, EntryView
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.listing import ListRequest
from thane.kernel.paging import MAX_LIMIT, Page
from thane.kernel.records import Unit

INDEX_MOST = (1 << 53) - 1  # what JSON numbers carry exactly everywhere, and far below a column's limit
Index = Annotated[int, Meta(ge=0, le=INDEX_MOST, description="The entry's index in the tenant's ledger.")]


@operation(
    "audit_logs.list",
    http="GET /audit-logs",
    needs="audit_logs.list",
    effect=Effect.NONE,
    entity=AuditLog,
    lists=True,
    example=Example({"limit": 10}),
    tags=("audit",),
)
async def list_audit_logs(audit: AuditService, unit: Unit, request: ListRequest) -> Page[AuditLog]:
    """Show who did what: changes from the ledger and reads and refusals beside them, newest first.

    `entry_index` leads to the proof (`ledger.prove`); it is null for reads and refusals,
    whose digest is in the ledger once a minute. Filter by user_id, actor, action,
    resource_type, resource_id, status, request_id, run_id or created_at.
    """
    return await audit.list_logs(unit, request)


class GetEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    index: Index


@operation(
    "ledger.get_entry",
    http="GET /ledger/entries/{index}",
    needs="ledger.get_entry",
    effect=Effect.NONE,
    example=Example({"index": 0}),
    tags=("ledger",),
)
async def get_entry(audit: AuditService, unit: Unit, request: GetEntry) -> EntryView:
    """Show one entry: the leaf that is hashed, the heads of the rows it changed, and its details."""
    return await audit.get_entry(unit.context, request.index)


class ListEntries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    start: (
        Annotated[
            int, Meta(ge=0, le=INDEX_MOST, description="The first index; without it, the newest entries.")
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="How many entries.")] = 30


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """Entries in order. `next_start` is where the next page begins, also while nothing stands there yet."""

    items: tuple[EntryView, ...]
    next_start: int


@operation(
    "ledger.list_entries",
    http="GET /ledger/entries",
    needs="ledger.list_entries",
    effect=Effect.NONE,
    example=Example({"limit": 10}),
    tags=("ledger",),
)
async def list_entries(audit: AuditService, unit: Unit, request: ListEntries) -> Entries:
    """List the ledger's entries in order, without their details."""
    items = await audit.list_entries(unit.context, request.start, request.limit)
    following = items[-1].index + 1 if items else request.start or 0
    return Entries(items=items, next_start=following)


class Prove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    index: Index


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """`proof` is a file in the format c2sp.org/tlog-proof@v1; save it as it is."""

    index: int
    proof: str


@operation(
    "ledger.prove",
    http="GET /ledger/entries/{index}/proof",
    needs="ledger.prove",
    effect=Effect.NONE,
    example=Example({"index": 0}),
    tags=("ledger",),
)
async def prove_entry(audit: AuditService, unit: Unit, request: Prove) -> Proof:
    """Prove one entry to people who do not trust this server.

    Save `proof` to a file and check it anywhere with `thane-verify FILE --key VKEY`; the
    key comes with `ledger.checkpoint`, and should reach the verifier by another way.
    """
    return Proof(index=request.index, proof=await audit.prove(unit.context, request.index))


class GetCheckpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Takes nothing."""


@operation(
    "ledger.checkpoint",
    http="GET /ledger/checkpoint",
    needs="ledger.checkpoint",
    effect=Effect.NONE,
    example=Example(),
    tags=("ledger",),
)
async def get_checkpoint(audit: AuditService, unit: Unit, request: GetCheckpoint) -> CheckpointView:
    """Show the newest signed checkpoint of your log and of the root log over all.

    Keep one elsewhere: a ledger that was made anew later cannot agree with it.
    """
    return await audit.checkpoint(unit.context)


ALL = (list_audit_logs, get_entry, list_entries, prove_entry, get_checkpoint)
