"""Rules of the audit: what a row says of an entry, and the minute's digest of the access rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec

from thane.domains.audit import repository
from thane.domains.audit.entities import AuditLog, AuditStatus
from thane.kernel import canonical
from thane.kernel.clock import from_us, to_us
from thane.kernel.context import Context, system_context
from thane.kernel.errors import Gone, NotFound
from thane.kernel.feed import Entry
from thane.kernel.jobs.checks import Problem
from thane.kernel.jobs.declare import Tools
from thane.kernel.jobs.entities import JobCursor, derived_id, entry_row_id
from thane.kernel.jobs.proving import SignsOnDemand, covering, prove
from thane.kernel.ledger.leaf import Head, Kind, decode_leaf
from thane.kernel.ledger.tree import CompactRange, leaf_hash
from thane.kernel.operations.details import Details, details, open_details, read_details
from thane.kernel.operations.entities import AccessRow
from thane.kernel.operations.listing import ListRequest
from thane.kernel.paging import Page
from thane.kernel.records import ROOT_LOG, Entrant, Records, Unit, schema_of

SEAL: Final = "audit.seal_access"
# A row's time is taken before it is written; by then it has been, or the server was down.
GRACE_US: Final = 10_000_000
_MINUTE_US: Final = 60_000_000
_SUCCESS: Final = frozenset({"done", "ok", "completed"})


class AccessDigest(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "stop": "to"}):
    """The access rows made in [from, to) (µs): how many, and the RFC 6962 root over them in order."""

    start: int
    stop: int
    count: int
    root: str


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as people and models read it. `details` is null where there are none, or retention or an
    erasure has emptied them; `leaf.details` says which."""

    index: int
    leaf_hash: str
    leaf: msgspec.Raw
    heads: tuple[Head, ...]
    details: dict[str, Any] | None = None


class CheckpointView(msgspec.Struct, frozen=True, kw_only=True):
    """The newest signed checkpoint of the tenant's log and of the root log, and the key that signs."""

    vkey: str
    size: int
    note: str
    root_note: str


class Signing(SignsOnDemand, Protocol):
    """The part of the signer that the audit uses."""

    @property
    def vkey(self) -> str: ...


class AuditService:
    """Reads the trail."""

    def __init__(
        self, records: Records, signer: Signing, *, kept_since_us: Callable[[], int] = lambda: 0
    ) -> None:
        """`kept_since_us`: access rows before that time are gone by retention."""
        self._records = records
        self._signer = signer
        self._kept_since_us = kept_since_us

    # -- the audit log ----------------------------------------------------------------------

    async def list_logs(self, unit: Unit, request: ListRequest) -> Page[AuditLog]:
        """A page with its details opened."""
        found = await repository.page(unit, request)
        named = {row.entry_index for row in found.items if row.entry_index is not None}
        opened: dict[int | None, Details] = {}
        if named:  # in one read for all of them
            tenant_id = unit.context.tenant_id
            for entry in await self._records.engine.entries_at(tenant_id, sorted(named)):
                with suppress(Gone):  # blanked, erased, or there were none
                    leaf = decode_leaf(entry.leaf)
                    opened[entry.index] = await open_details(self._records, tenant_id, entry, leaf)
        items = tuple(_with(row, opened.get(row.entry_index)) for row in found.items)
        return msgspec.structs.replace(found, items=items)

    async def _details(self, tenant_id: str, index: int) -> Details | None:
        try:
            return (await read_details(self._records, tenant_id, index))[1]
        except Gone:  # blanked, erased, or there were none
            return None

    # -- the ledger -------------------------------------------------------------------------

    async def get_entry(self, context: Context, index: int) -> EntryView:
        """One entry with its details. NotFound."""
        rows = await self._records.engine.entries(context.tenant_id, index, 1)
        if not rows or rows[0].index != index:
            size = await self._records.engine.log_size(context.tenant_id)
            raise NotFound(f"there is no entry {index}; the log has {size}", extra={"resource": "ledger"})
        opened = await self._details(context.tenant_id, index)
        row = rows[0]
        return EntryView(
            index=row.index,
            leaf_hash=row.leaf_hash.hex(),
            leaf=msgspec.Raw(row.leaf),
            heads=row.heads,
            details=None if opened is None else _shown(opened),
        )

    async def list_entries(self, context: Context, start: int | None, limit: int) -> tuple[EntryView, ...]:
        """Entries from `start` on (without it the newest), without details."""
        engine = self._records.engine
        if start is None:
            start = max(0, await engine.log_size(context.tenant_id) - limit)
        return tuple(
            EntryView(
                index=row.index, leaf_hash=row.leaf_hash.hex(), leaf=msgspec.Raw(row.leaf), heads=row.heads
            )
            for row in await engine.entries(context.tenant_id, start, limit)
        )

    async def prove(self, context: Context, index: int) -> str:
        """The entry's `.tlog-proof`. NotFound; Unavailable if it is not signed yet and nothing signs here."""
        return await prove(self._records.engine, self._signer, context.tenant_id, index)

    async def checkpoint(self, context: Context) -> CheckpointView:
        """Over everything there is now: what has grown is signed first."""
        engine = self._records.engine
        size = await engine.log_size(context.tenant_id)
        if size and await covering(engine, context.tenant_id, size - 1) is None:
            await self._signer.sign_now()
        mine, root = await engine.checkpoints(context.tenant_id), await engine.checkpoints(ROOT_LOG)
        if not mine or not root:
            raise NotFound("nothing is signed yet", extra={"resource": "ledger"})
        return CheckpointView(
            vkey=self._signer.vkey, size=mine[0].size, note=mine[0].note, root_note=root[0].note
        )

    # -- the access rows' digest ------------------------------------------------------------

    async def seal_access(self, tools: Tools) -> int:
        """Write, per tenant, the digest of the access rows since the last one; how many entries were made."""
        made = 0
        for tenant_id in await self._records.engine.logs():
            made += await self._seal(tools, tenant_id)
        return made

    async def _seal(self, tools: Tools, tenant_id: str) -> bool:
        context = tools.context(tenant_id)
        stop = (context.now_us - GRACE_US) // _MINUTE_US * _MINUTE_US
        id = derived_id("cur", SEAL, tenant_id)
        stored = await self._records.engine.fetch(schema_of(JobCursor), tenant_id, id)
        start = 0 if stored is None else stored.record.position
        if stop <= start:
            return False
        digest = await self.digest(self._records.unit(context), start, stop)

        async def move(unit: Unit) -> bool:
            """The cursor says up to when it is sealed; who finds it moved has nothing to do."""
            cursor = await unit.find(JobCursor, id)
            if (0 if cursor is None else cursor.position) != start:
                return False
            if cursor is None:
                unit.create(JobCursor(id=id, tenant_id=tenant_id, consumer=SEAL, position=stop))
            else:
                await unit.update(cursor, position=stop)
            return True

        if not digest.count:
            await self._records.housekeep(context, move)
            return False

        def entrant(unit: Unit, moved: bool) -> Entrant:
            if not moved:
                raise _Sealed
            return Entrant(
                kind=Kind.ACCESS,
                operation=SEAL,
                outcome="done",
                subject=tenant_id,
                details=details(unit.context, result=msgspec.json.encode(digest)),
            )

        try:
            await self._records.run(context, move, entrant)
        except _Sealed:
            return False
        return True

    async def digest(self, unit: Unit, start: int, stop: int) -> AccessDigest:
        """What the rows of others than `system` in [start, stop) come to."""
        tree = CompactRange()
        async for row in repository.access_between(unit, start, stop):
            tree.append(leaf_hash(_canonical(row)))
        return AccessDigest(start=start, stop=stop, count=tree.size, root=tree.root().hex())

    async def check_access(
        self, records: Records, tenant_id: str, indexes: Sequence[int]
    ) -> AsyncIterator[Problem]:
        """For `thane verify`: the access rows against the digests that were made of them."""
        for index in indexes:
            opened = await self._details(tenant_id, index)
            if opened is None:
                continue
            said = msgspec.json.decode(bytes(opened.result), type=AccessDigest)
            if said.start < self._kept_since_us():
                continue
            row = (await records.engine.entries(tenant_id, index, 1))[0]
            unit = records.unit(system_context(tenant_id, "verify", decode_leaf(row.leaf).time))
            found = await self.digest(unit, said.start, said.stop)
            if found != said:
                yield Problem(
                    kind="access",
                    tenant_id=tenant_id,
                    index=index,
                    message=f"of the {said.count} access rows from {from_us(said.start).isoformat()} to "
                    f"{from_us(said.stop).isoformat()}, {found.count} are there, and they are not the same",
                )


class _Sealed(Exception):
    """Another process has sealed this minute."""


def row_of(entry: Entry) -> AuditLog | None:
    """The audit row of an entry; None for an intent, whose outcome is another entry and will be the row."""
    leaf = entry.leaf
    if leaf.kind is Kind.INTENT:
        return None
    resource_type, _, action = leaf.operation.partition(".")
    success = leaf.outcome in _SUCCESS
    return AuditLog(
        id=entry_row_id("aud", entry.tenant_id, entry.index, 0, leaf.time),
        tenant_id=entry.tenant_id,
        project_id=leaf.project,
        user_id=next((actor for actor in leaf.actor if actor.startswith("usr_")), None),
        actor=leaf.actor[-1],
        action=action,
        resource_type=resource_type,
        resource_id=leaf.resource,
        status=AuditStatus.SUCCESS if success else AuditStatus.FAILURE,
        error_message=None if success else leaf.outcome,
        ip_address=None,
        user_agent=None,
        request_id=leaf.request,
        run_id=leaf.run,
        details=None,
        entry_index=entry.index,
        created_at=from_us(leaf.time),
    )


def _with(row: AuditLog, opened: Details | None) -> AuditLog:
    if opened is None:
        return row
    return msgspec.structs.replace(  # type: ignore[type-var]
        row, ip_address=opened.ip, user_agent=opened.user_agent, details=_shown(opened)
    )


def _shown(opened: Details) -> dict[str, Any]:
    parts = {"args": opened.args, "intent": opened.intent, "result": opened.result}
    decoded = {name: msgspec.json.decode(bytes(raw)) for name, raw in parts.items()}
    return {name: value for name, value in decoded.items() if value is not None}


def _canonical(row: AccessRow) -> bytes:
    """A row as the digest covers it: without address and user agent, which an erasure may blank."""
    return canonical.encode(
        {
            "code": row.code,
            "created_at": to_us(row.created_at),
            "id": row.id,
            "operation": row.operation,
            "principal_id": row.principal_id,
            "principal_kind": row.principal_kind,
            "request_id": row.request_id,
            "resource_id": row.resource_id,
            "run_id": row.run_id,
            "status": row.status,
            "user_id": row.user_id,
        }
    )
