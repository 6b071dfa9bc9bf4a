"""Schema steps as SQLite's DDL, and the tables that every store has: the ledger's.

A table with searchable text has an integer key of its own beside `id`, because an FTS5
index refers to rows by number; all others are clustered by `id`, which orders by time.
"""

from __future__ import annotations

from collections.abc import Sequence

from thane.adapters.sqlite.codecs import column_type, encoder
from thane.kernel.records.predicate import Predicate
from thane.kernel.records.schema import FieldSchema, IndexSchema, OnDelete, Schema
from thane.kernel.records.steps import (
    AddField,
    CreateIndex,
    CreateTable,
    DropField,
    DropIndex,
    DropTable,
    Step,
)

LEDGER = (
    "CREATE TABLE IF NOT EXISTS thane_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Number 0 is the root log; a tenant's log gets the next number with the tenant's first entry.
    "CREATE TABLE IF NOT EXISTS thane_logs (number INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL UNIQUE)",
    # id = log number << 40 | index; the leaf as text, byte for byte what was hashed.
    "CREATE TABLE IF NOT EXISTS thane_entries (id INTEGER PRIMARY KEY, leaf TEXT NOT NULL, "
    "hash BLOB NOT NULL, heads TEXT, bodies BLOB, details BLOB)",
    "CREATE TABLE IF NOT EXISTS thane_tiles (log INTEGER NOT NULL, level INTEGER NOT NULL, "
    "n INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (log, level, n)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS thane_checkpoints (log INTEGER NOT NULL, size INTEGER NOT NULL, "
    "note TEXT NOT NULL, PRIMARY KEY (log, size)) WITHOUT ROWID",
    "INSERT OR IGNORE INTO thane_logs (number, tenant_id) VALUES (0, '')",
)


def render(steps: Sequence[Step]) -> list[str]:
    """The statements of these steps, in order."""
    statements: list[str] = []
    for step in steps:
        match step:
            case CreateTable(schema):
                statements += _create(schema)
            case DropTable(schema):
                statements += [f'DROP TABLE "{schema.table}"']
                if schema.text_fields:
                    statements.append(f'DROP TABLE "{schema.table}_text"')
            case AddField(schema, field):
                statements.append(
                    f'ALTER TABLE "{schema.table}" ADD COLUMN {_column(field)}{_default(field)}'
                )
                if field.blind_index:
                    statements.append(f'ALTER TABLE "{schema.table}" ADD COLUMN "{field.name}_blind" BLOB')
            case DropField(schema, field):
                statements.append(f'ALTER TABLE "{schema.table}" DROP COLUMN "{field.name}"')
                if field.blind_index:
                    statements.append(f'ALTER TABLE "{schema.table}" DROP COLUMN "{field.name}_blind"')
            case CreateIndex(schema, index):
                statements.append(_index(schema, index))
            case DropIndex(_, index):
                statements.append(f'DROP INDEX "{index.name}"')
    return statements


def _create(schema: Schema) -> list[str]:
    columns = [_column(f) for f in schema.fields]
    columns += [f'"{f.name}_blind" BLOB' for f in schema.fields if f.blind_index]
    columns.append('"version" INTEGER NOT NULL')
    if schema.history:
        columns += ['"_salt" BLOB NOT NULL', '"_entry" INTEGER NOT NULL']
    if schema.text_fields:
        columns = ['"_rowid" INTEGER PRIMARY KEY', *columns, 'UNIQUE ("id")']
        words = ", ".join(f'"{name}"' for name in schema.text_fields)
        return [
            f'CREATE TABLE "{schema.table}" ({", ".join(columns)})',
            # The words come analysed, FTS5 only splits them. Contentless: no second copy of the text.
            f"CREATE VIRTUAL TABLE \"{schema.table}_text\" USING fts5({words}, content='', "
            "contentless_delete=1, tokenize=\"unicode61 remove_diacritics 0 tokenchars '_'\")",
            f'INSERT INTO "{schema.table}_text" ("{schema.table}_text", rank) VALUES (\'secure-delete\', 1)',
        ]
    columns.append('PRIMARY KEY ("id")')
    return [f'CREATE TABLE "{schema.table}" ({", ".join(columns)}) WITHOUT ROWID']


def _column(field: FieldSchema) -> str:
    text = f'"{field.name}" {column_type(field)}'
    if not field.nullable:
        text += " NOT NULL"
    if field.choices:
        words = ", ".join(_literal(c) for c in field.choices)
        text += f' CHECK ("{field.name}" IN ({words}))'
    if field.references is not None:
        text += f' REFERENCES "{field.references}" ("id")'
        if field.on_delete is OnDelete.CASCADE:
            text += " ON DELETE CASCADE"
    return text


def _default(field: FieldSchema) -> str:
    """What the rows that are there get in a new field."""
    if field.nullable or field.default is None:
        return ""
    encode = encoder(field)
    return f" DEFAULT {_literal(field.default if encode is None else encode(field.default))}"


def _index(schema: Schema, index: IndexSchema) -> str:
    columns = ", ".join(_index_column(schema, c) for c in (*index.columns, *_last_key(schema, index)))
    where = "" if index.where is None else f" WHERE {_constant(schema, index.where)}"
    unique = "UNIQUE " if index.unique else ""
    return f'CREATE {unique}INDEX "{index.name}" ON "{schema.table}" ({columns}){where}'


def _last_key(schema: Schema, index: IndexSchema) -> tuple[str, ...]:
    """Lists end their order with the id, in the direction of the key before: so the index serves all of it.

    A table that is clustered by id has it at the end of every index, but ascending.
    """
    descending = index.columns[-1].endswith(" DESC")
    if index.unique or not (descending or schema.text_fields):
        return ()
    if any(c.removesuffix(" DESC") == "id" for c in index.columns):
        return ()
    return ("id DESC" if descending else "id",)


def _index_column(schema: Schema, column: str) -> str:
    name, descending = column.removesuffix(" DESC"), column.endswith(" DESC")
    field = schema.by_name.get(name)
    if field is not None and field.blind_index:
        name = f"{name}_blind"
    return f'"{name}"{" DESC" if descending else ""}'


def _constant(schema: Schema, where: Predicate) -> str:
    """A partial index's condition with its values written out: SQLite takes no parameters there."""
    shape, values = where.shape, list(where.values)
    kind = shape[0]
    if kind in ("and", "or"):
        n = _count(shape[1])
        left = _constant(schema, Predicate(shape[1], tuple(values[:n])))
        right = _constant(schema, Predicate(shape[2], tuple(values[n:])))
        return f"({left} {kind.upper()} {right})"
    column = f'"{shape[1]}"'
    if kind == "null":
        return f"{column} IS NULL"
    if kind == "notnull":
        return f"{column} IS NOT NULL"
    if kind not in ("=", "!=", "in"):
        raise TypeError(f"{schema.table}: a partial index cannot have the condition {kind!r}")
    encode = encoder(schema.by_name[shape[1]])
    words = ", ".join(_literal(v if encode is None else encode(v)) for v in values)
    if kind == "in":
        return f"{column} IN ({words})"
    return f"{column} {'<>' if kind == '!=' else '='} {words}"


def _count(shape: tuple[object, ...]) -> int:
    if shape[0] in ("and", "or"):
        return _count(shape[1]) + _count(shape[2])  # type: ignore[arg-type]
    return int(shape[2]) if shape[0] == "in" else 0 if shape[0] in ("null", "notnull") else 1  # type: ignore[call-overload]


def _literal(value: object) -> str:
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    return "'" + str(value).replace("'", "''") + "'"
