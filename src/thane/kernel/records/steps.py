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
    """The steps from one set of schemas (in dependency order) to another.

    ValueError for what no list of steps can do to the rows that are there: a field changed
    in place, a field that is not nullable in a table with history (its rows' digests would
    no longer hold), a searchable field. Those need a written migration.

    First goes what nothing depends on any more (indexes, fields, tables from the last to
    the first), then comes what is new.
    """
    before, after = {s.table: s for s in old}, {s.table: s for s in new}
    steps: list[Step] = []
    for known in reversed(old):
        schema = after.get(known.table)
        if schema is not None:
            steps.extend(_dropped(known, schema))
    for known in reversed(old):
        if known.table not in after:
            # Named, although they would go with the table: else the way back would not bring them.
            steps.extend(DropIndex(known, index) for index in known.indexes)
            steps.append(DropTable(known))
    for schema in new:
        steps.extend(_added(before.get(schema.table), schema))
    return tuple(steps)


def _dropped(known: Schema, schema: Schema) -> list[Step]:
    kept = {i.name: i for i in schema.indexes}
    steps: list[Step] = [DropIndex(known, index) for index in known.indexes if kept.get(index.name) != index]
    for field in known.fields:
        if field.name not in schema.by_name:
            _refuse_text(known, field)
            steps.append(DropField(known, field))
    return steps


def _added(known: Schema | None, schema: Schema) -> list[Step]:
    if known is None:
        return [CreateTable(schema), *(CreateIndex(schema, index) for index in schema.indexes)]
    steps: list[Step] = []
    for field in schema.fields:
        earlier = known.by_name.get(field.name)
        if earlier is None:
            _refuse_text(schema, field)
            if not field.nullable and (schema.history or not field.has_default):
                why = "its rows have digests" if schema.history else "it has no default"
                raise ValueError(
                    f"{schema.table}.{field.name} is new and never empty, but {why}; write a migration for it"
                )
            steps.append(AddField(schema, field))
        elif _plain_field(earlier) != _plain_field(field):
            raise ValueError(f"{schema.table}.{field.name} was changed in place; write a migration for it")
    had = {i.name: i for i in known.indexes}
    steps.extend(CreateIndex(schema, index) for index in schema.indexes if had.get(index.name) != index)
    return steps


def _refuse_text(schema: Schema, field: FieldSchema) -> None:
    if field.text:
        raise ValueError(
            f"{schema.table}.{field.name} is searchable; write a migration that indexes the rows"
        )


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
    for name in ("python_type", "default", "has_default"):
        plain.pop(name)
    plain["choices"] = list(field.choices)
    plain["kind"] = field.kind.value
    plain["on_delete"] = field.on_delete.value
    return plain
