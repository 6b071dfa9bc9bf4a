"""The step algebra: how a schema comes to be and changes. One list of steps for every engine.

Entities, collections and `thane db` all speak in these; each engine renders them. A
migration is a numbered list of steps with its reverse; `difference` compares two sets
of declared schemas and gives the steps between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from thane.kernel import canonical
from thane.kernel.records.schema import FieldSchema, IndexSchema, Schema


class CreateTable(msgspec.Struct, frozen=True):
    schema: Schema


class DropTable(msgspec.Struct, frozen=True):
    schema: Schema


class AddField(msgspec.Struct, frozen=True):
    """The field is nullable, or has a default that the engine can state."""

    schema: Schema
    field: FieldSchema


class DropField(msgspec.Struct, frozen=True):
    schema: Schema
    field: FieldSchema


class CreateIndex(msgspec.Struct, frozen=True):
    schema: Schema
    index: IndexSchema


class DropIndex(msgspec.Struct, frozen=True):
    schema: Schema
    index: IndexSchema


Step = CreateTable | DropTable | AddField | DropField | CreateIndex | DropIndex


def reverse(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that lead back, last first."""
    undo: list[Step] = []
    for step in reversed(steps):
        match step:
            case CreateTable(schema):
                undo.append(DropTable(schema))
            case DropTable(schema):
                undo.append(CreateTable(schema))
            case AddField(schema, field):
                undo.append(DropField(schema, field))
            case DropField(schema, field):
                undo.append(AddField(schema, field))
            case CreateIndex(schema, index):
                undo.append(DropIndex(schema, index))
            case DropIndex(schema, index):
                undo.append(CreateIndex(schema, index))
    return tuple(undo)


def difference(old: Sequence[Schema], new: Sequence[Schema]) -> tuple[Step, ...]:
    """The steps from one set of schemas (in dependency order) to another. ValueError for a changed field: that needs a written migration."""
    before, after = {s.table: s for s in old}, {s.table: s for s in new}
    steps: list[Step] = [DropTable(s) for s in reversed(old) if s.table not in after]
    for schema in new:
        known = before.get(schema.table)
        if known is None:
            steps.append(CreateTable(schema))
            steps.extend(CreateIndex(schema, index) for index in schema.indexes)
        else:
            steps.extend(_changes(known, schema))
    return tuple(steps)


def _changes(known: Schema, schema: Schema) -> list[Step]:
    steps: list[Step] = []
    old_indexes, new_indexes = {i.name: i for i in known.indexes}, {i.name: i for i in schema.indexes}
    for name, index in old_indexes.items():
        if new_indexes.get(name) != index:
            steps.append(DropIndex(schema, index))
    for field in known.fields:
        if field.name not in schema.by_name:
            steps.append(DropField(schema, field))
    for field in schema.fields:
        earlier = known.by_name.get(field.name)
        if earlier is None:
            steps.append(AddField(schema, field))
        elif _plain_field(earlier) != _plain_field(field):
            raise ValueError(f"{schema.table}.{field.name} was changed in place; write a migration for it")
    for name, index in new_indexes.items():
        if old_indexes.get(name) != index:
            steps.append(CreateIndex(schema, index))
    return steps


def digest(schemas: Sequence[Schema]) -> str:
    """SHA-256 over the schemas as declared; start compares it with the store's."""
    described = [describe(s) for s in sorted(schemas, key=lambda s: s.table)]
    return sha256(canonical.encode(described)).hexdigest()


def describe(schema: Schema) -> dict[str, Any]:
    """A schema as plain JSON, without what only Python needs."""
    return {
        "table": schema.table,
        "prefix": schema.prefix,
        "version": schema.version,
        "scoped": schema.scoped,
        "history": schema.history,
        "counter": schema.counter,
        "stream": schema.stream,
        "subject": schema.subject,
        "fields": [_plain_field(f) for f in schema.fields],
        "indexes": [
            {
                "name": i.name,
                "columns": list(i.columns),
                "unique": i.unique,
                "where": None if i.where is None else repr(i.where),
            }
            for i in schema.indexes
        ],
    }


def _plain_field(field: FieldSchema) -> dict[str, Any]:
    plain = msgspec.structs.asdict(field)
    plain.pop("python_type")
    plain["choices"] = list(field.choices)
    plain["kind"] = field.kind.value
    plain["on_delete"] = field.on_delete.value
    return plain
