"""A schema is a value: fields, types, indexes, sealing, edges, and what kind of rows they are.

A typed class is one producer of schemas (`entity.py`), a collection made by a user at
run time will be another; engines know only schemas. Nothing here touches a store.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgspec

from thane.kernel.records.predicate import Predicate


class Kind(StrEnum):
    """Families of types; each engine maps them to its own."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    TIME = "time"
    JSON = "json"
    BYTES = "bytes"


class OnDelete(StrEnum):
    RESTRICT = "restrict"
    CASCADE = "cascade"


class FieldSchema(msgspec.Struct, frozen=True, kw_only=True):
    """One field. `choices` are the words of an enum; `references` names a table.

    `edge` is the name of the graph edge that the reference is. `default` is what rows get
    that are there already when the field is added.
    """

    name: str
    kind: Kind
    nullable: bool = False
    choices: tuple[str, ...] = ()
    precision: int = 36
    scale: int = 18
    references: str | None = None
    edge: str | None = None
    on_delete: OnDelete = OnDelete.RESTRICT
    sealed: bool = False
    blind_index: bool = False
    text: bool = False  # searchable; its analysed words are indexed
    secret: bool = False  # a hash or token: left out of heads, bodies and answers
    # What only Python needs, and the digest of the schema does not cover:
    has_default: bool = False
    default: Any = None
    python_type: Any = None  # what a decoded value is


class IndexSchema(msgspec.Struct, frozen=True, kw_only=True):
    """`columns` may carry ` DESC`. `where` makes it partial."""

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    where: Predicate | None = None


class Schema(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What an engine must know of a table.

    `scoped`: rows belong to a tenant and have `tenant_id`. `history`: changes make heads
    and bodies in the ledger. `counter`: arithmetic updates are allowed (never with
    history). `stream`: the field that names the parent of an ordered stream of rows.
    `subject`: the field that names whose data key seals the row's bodies (else the tenant).
    """

    table: str
    prefix: str
    fields: tuple[FieldSchema, ...]
    indexes: tuple[IndexSchema, ...] = ()
    version: int = 1
    scoped: bool = True
    history: bool = True
    counter: bool = False
    stream: str | None = None
    subject: str | None = None
    make: Callable[..., Any] | None = None  # builds a record from python values in field order, then version
    read: Callable[[Any], tuple[Any, ...]] | None = None  # the reverse, without version

    @cached_property
    def by_name(self) -> dict[str, FieldSchema]:
        return {f.name: f for f in self.fields}

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields)

    @cached_property
    def text_fields(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields if f.text)

    @cached_property
    def has_json(self) -> bool:
        return any(f.kind is Kind.JSON for f in self.fields)

    @cached_property
    def sealed_fields(self) -> tuple[FieldSchema, ...]:
        return tuple(f for f in self.fields if f.sealed)

    @cached_property
    def noun(self) -> str:
        """`sandboxes` as `sandbox`, for messages."""
        words = self.table.replace("_", " ")
        if words.endswith(("xes", "sses")):
            return words[:-2]
        return words[:-3] + "y" if words.endswith("ies") else words.removesuffix("s")

    def check(self) -> None:
        """TypeError if the declaration contradicts itself."""
        if self.counter and self.history:
            raise TypeError(f"{self.table}: a counter has no history")
        if self.scoped and "tenant_id" not in self.by_name:
            raise TypeError(f"{self.table}: a scoped schema needs tenant_id")
        if self.stream is not None and self.history:
            raise TypeError(f"{self.table}: a stream has no history")
        for field in self.fields:
            fault = self._fault(field)
            if fault is not None:
                raise TypeError(f"{self.table}.{field.name}: {fault}")
        for index in self.indexes:
            for column in index.columns:
                name = column.removesuffix(" DESC")
                if name not in self.by_name and name.removesuffix("_blind") not in self.by_name:
                    raise TypeError(f"{self.table}: index {index.name} names an unknown field {name}")

    def _fault(self, field: FieldSchema) -> str | None:
        if field.blind_index and not field.sealed:
            return "a blind index is for sealed fields"
        if field.text and (field.kind is not Kind.TEXT or field.sealed):
            return "only plain text is searchable"
        if field.sealed and (field.kind not in (Kind.TEXT, Kind.BYTES) or field.choices):
            return "only text and bytes can be sealed"
        if field.on_delete is OnDelete.CASCADE and (self.history or any(f.text for f in self.fields)):
            # The engine would delete rows of which neither the ledger nor the text index hears.
            return "a row with history or searchable text cannot be deleted with another"
        return None


class Registry:
    """The schemas of one program, by table."""

    def __init__(self) -> None:
        self._schemas: dict[str, Schema] = {}

    def add(self, schema: Schema) -> None:
        known = self._schemas.get(schema.table)
        if known is not None and known is not schema:
            raise TypeError(f"two schemas are called {schema.table}")
        schema.check()
        self._schemas[schema.table] = schema

    def get(self, table: str) -> Schema:
        return self._schemas[table]

    def find(self, table: str) -> Schema | None:
        return self._schemas.get(table)

    def all(self) -> tuple[Schema, ...]:
        """In an order in which references point to earlier tables."""
        ordered: dict[str, Schema] = {}

        def visit(schema: Schema, above: tuple[str, ...]) -> None:
            if schema.table in ordered:
                return
            for field in schema.fields:
                target = field.references
                if target is not None and target != schema.table and target not in above:
                    if target not in self._schemas:
                        raise TypeError(
                            f"{schema.table}.{field.name} refers to {target}, which no module declares"
                        )
                    visit(self._schemas[target], (*above, schema.table))
            ordered[schema.table] = schema

        for schema in self._schemas.values():
            visit(schema, ())
        return tuple(ordered.values())
