"""From a unit's queued writes to what an engine applies: digests, sealed bodies, heads, the draft.

Everything that does not depend on the entry's place is made here, outside the lock. It
must not touch the store other than to find a subject's key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from thane.kernel.context import SYSTEM_TENANT, Context
from thane.kernel.ledger.leaf import ROW_SALT_BYTES, Head, Op, row_digest, sealed_digest
from thane.kernel.records.checks import check_json
from thane.kernel.records.engine import Change, EntryDraft, Operation, Stored
from thane.kernel.records.keys import SubjectRing
from thane.kernel.records.rows import canonical_row
from thane.kernel.records.schema import FieldSchema, Kind, Schema
from thane.kernel.records.text import analyse
from thane.kernel.sealing.blind_index import blind_index
from thane.kernel.sealing.commitment import COMMITMENT_BYTES, commitment_of, open_field, seal_field
from thane.kernel.sealing.envelope import SubjectKey, open_sealed, seal, sealed_key_id

# Words past the first quarter of a megabyte of a field are not found: indexing them would hold up everyone.
INDEXED_BYTES = 256 << 10


class Entrant(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation's entry says. `details` is plaintext JSON and is sealed under `subject`."""

    kind: str
    operation: str
    outcome: str | None
    subject: str
    resource: str | None = None
    intent: int | None = None
    details: bytes | None = None
    place: Callable[[int, int], tuple[Change, ...]] | None = None


class Preparer:
    """Seals and digests for units."""

    def __init__(self, ring: SubjectRing) -> None:
        self.ring = ring

    # -- sealed fields --------------------------------------------------------------------

    async def opened(self, schema: Schema, record: Any) -> Any:
        """A stored record with its sealed fields in the plain."""
        if not schema.sealed_fields:
            return record
        plain: dict[str, Any] = {}
        for field in schema.sealed_fields:
            stored = getattr(record, field.name)
            if stored is not None:
                keys = await self.ring.load(sealed_key_id(stored[COMMITMENT_BYTES:]))
                plain[field.name] = _text(
                    field, open_field(keys, stored, _field_aad(schema, record.id, field))
                )
        return msgspec.structs.replace(record, **plain)

    async def _sealed(
        self, schema: Schema, record: Any, known: Stored | None, key: SubjectKey
    ) -> tuple[Any, dict[str, bytes], dict[str, bytes]]:
        """(record with sealed bytes, commitments, blind indexes).

        What did not change keeps its bytes and commitment.
        """
        values: dict[str, Any] = {}
        commitments: dict[str, bytes] = {}
        blind: dict[str, bytes] = {}
        earlier = None if known is None else await self.opened(schema, known.record)
        for field in schema.sealed_fields:
            value = getattr(record, field.name)
            if value is None:
                continue
            data = value if isinstance(value, bytes) else str(value).encode()
            if earlier is not None and known is not None and getattr(earlier, field.name) == value:
                stored = getattr(known.record, field.name)
            else:
                stored = seal_field(key, data, _field_aad(schema, record.id, field))
            values[field.name] = stored
            commitments[field.name] = commitment_of(stored)
            if field.blind_index:
                blind[field.name] = self.blind(schema, field.name, str(value))
        return msgspec.structs.replace(record, **values), commitments, blind

    def blind(self, schema: Schema, field: str, value: str) -> bytes:
        """The blind index of a value, as it stands beside the sealed column."""
        return blind_index(self.ring.folder.index_key, f"{schema.table}.{field}", value)

    # -- changes --------------------------------------------------------------------------

    async def change(
        self,
        context: Context,
        operation: Operation,
        schema: Schema,
        id: str,
        record: Any,
        known: Stored | None,
        expected: int,
        new_keys: Mapping[str, SubjectKey],
    ) -> tuple[Change, Head | None, bytes]:
        """The change as an engine applies it, its head and its sealed body (none without history)."""
        sealed_record = record
        commitments: dict[str, bytes] = {}
        blind: dict[str, bytes] = {}
        key: SubjectKey | None = None
        if record is not None and schema.has_json:
            check_json(schema, record)
        if record is not None and (schema.history or schema.sealed_fields):
            key = await self._key(self.subject_of(context, schema, record), new_keys)
            if schema.sealed_fields:
                sealed_record, commitments, blind = await self._sealed(schema, record, known, key)
        salt = os.urandom(ROW_SALT_BYTES) if schema.history and record is not None else None
        changed = None
        if operation is Operation.UPDATE and known is not None:
            changed = _changed(schema, known.record, sealed_record)
        text = {} if record is None else _text_of(schema, record, changed)
        made = Change(operation, schema, id, sealed_record, expected, salt, blind, text, changed)
        if not schema.history:
            return made, None, b""
        after, body = None, b""
        if record is not None and salt is not None and key is not None:
            row = canonical_row(schema, record, commitments)
            after = row_digest(salt, row).hex()
            body = seal(key, salt + row, body_aad(schema.table, id))
        head = Head(
            after=after,
            before=None if known is None else stored_digest(schema, known).hex(),
            body=sealed_digest(body) if body else None,
            id=id,
            op=Op(operation.value),
            previous=None if known is None else known.entry,
            schema=schema.table,
            schema_version=schema.version,
        )
        return made, head, body

    def subject_of(self, context: Context, schema: Schema, record: Any) -> str:
        """Whose key seals a row's bodies."""
        named = getattr(record, schema.subject) if schema.subject else None
        return named or context.tenant_id or SYSTEM_TENANT

    async def draft(
        self,
        context: Context,
        entrant: Entrant,
        heads: Sequence[Head],
        bodies: Sequence[bytes],
        new_keys: Mapping[str, SubjectKey],
    ) -> EntryDraft:
        """The entry but for its place."""
        details = None
        if entrant.details is not None:
            key = await self._key(entrant.subject, new_keys)
            details = seal(
                key, entrant.details, details_aad(context.tenant_id, context.request_id, entrant.operation)
            )
        return EntryDraft(
            kind=entrant.kind,
            operation=entrant.operation,
            actor=context.actor_chain,
            project=context.project_id,
            run=context.run_id,
            request=context.request_id,
            resource=entrant.resource,
            outcome=entrant.outcome,
            intent=entrant.intent,
            details=details,
            heads=tuple(heads),
            bodies=tuple(bodies),
        )

    async def _key(self, subject: str, new_keys: Mapping[str, SubjectKey]) -> SubjectKey:
        return new_keys.get(subject) or await self.ring.of(subject)

    # -- history --------------------------------------------------------------------------

    async def open_body(self, table: str, id: str, body: bytes) -> bytes:
        """The plaintext (salt ‖ canonical row) of a body; KeyMissing or Erased if its subject is gone."""
        keys = await self.ring.load(sealed_key_id(body))
        return open_sealed(keys, body, body_aad(table, id))

    async def open_details(self, tenant_id: str, request_id: str, operation: str, details: bytes) -> bytes:
        """The plaintext JSON of an entry's details."""
        keys = await self.ring.load(sealed_key_id(details))
        return open_sealed(keys, details, details_aad(tenant_id, request_id, operation))


def stored_digest(schema: Schema, stored: Stored) -> bytes:
    """The digest of a row as it lies in the store: what its last entry's head must name as `after`."""
    commitments = {
        f.name: commitment_of(getattr(stored.record, f.name))
        for f in schema.sealed_fields
        if getattr(stored.record, f.name) is not None
    }
    assert stored.salt is not None
    return row_digest(stored.salt, canonical_row(schema, stored.record, commitments))


def body_aad(table: str, id: str) -> bytes:
    return f"body/{table}/{id}".encode()


def details_aad(tenant_id: str, request_id: str, operation: str) -> bytes:
    return f"details/{tenant_id}/{request_id}/{operation}".encode()


def _field_aad(schema: Schema, id: str, field: FieldSchema) -> bytes:
    return f"field/{schema.table}/{id}/{field.name}".encode()


def _changed(schema: Schema, before: Any, after: Any) -> frozenset[str]:
    """Fields whose stored values differ. In JSON 1 and true are equal to Python, but not to a digest."""
    read = schema.read
    assert read is not None
    return frozenset(
        field.name
        for field, old, new in zip(schema.fields, read(before), read(after), strict=True)
        if old is not new and (field.kind is Kind.JSON or old != new)
    )


def _text_of(schema: Schema, record: Any, changed: frozenset[str] | None) -> dict[str, str]:
    """The words to index; nothing if an update leaves all searchable fields alone."""
    names = schema.text_fields
    if not names or (changed is not None and changed.isdisjoint(names)):
        return {}
    return {n: " ".join(analyse(getattr(record, n) or "", INDEXED_BYTES)) for n in names}


def _text(field: FieldSchema, data: bytes) -> Any:
    return data if field.kind is Kind.BYTES else data.decode()
