"""Predicates, selections and writes as SQL text, compiled once per shape and schema.

Values are always bound, never written into the text; names come from schemas only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from thane.adapters.sqlite.aggregates import measure_sql
from thane.adapters.sqlite.codecs import Codec, bare_decoder, decoder, encoder
from thane.kernel.records.engine import BareRow, Hop, Measure, Stored
from thane.kernel.records.predicate import Order, Predicate, Shape, to_plain
from thane.kernel.records.schema import FieldSchema, Kind, Schema

# Past this the texts are forgotten: filters come from outside and must not fill memory.
CACHED_SHAPES = 500
_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class Update(NamedTuple):
    """An UPDATE of the fields at these places, the version, salt and entry, and these blind indexes."""

    text: str
    fields: tuple[int, ...]
    blind: tuple[str, ...]


class Table:
    """One schema's compiled statements."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.name = schema.table
        self.encoders: list[Codec | None] = [encoder(f) for f in schema.fields]
        self._by_field = {f.name: e for f, e in zip(schema.fields, self.encoders, strict=True)}
        self._by_field["version"] = None
        self._updates: dict[frozenset[str], Update] = {}
        self._texts: dict[Any, str] = {}
        self._binders: dict[Shape, list[Callable[[Any], Any] | None]] = {}

    # -- rows ---------------------------------------------------------------------------

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """Columns that no answer shows, in the order in which they are written."""
        blind = tuple(f"{f.name}_blind" for f in self.schema.fields if f.blind_index)
        return (*(("_salt", "_entry") if self.schema.history else ()), *blind)

    @cached_property
    def columns(self) -> str:
        names = [*self.schema.names, "version", *(("_salt", "_entry") if self.schema.history else ())]
        return ", ".join(f'"{n}"' for n in names)

    @cached_property
    def load(self) -> Callable[[Sequence[Any]], Stored]:
        """A row of `columns` as a Stored: one generated expression, for it runs for each row of each list."""
        scope: dict[str, Any] = {"make": self.schema.make, "Stored": Stored}
        parts = []
        for i, field in enumerate(self.schema.fields):
            decode = decoder(field)
            if decode is None:
                parts.append(f"r[{i}]")
            else:
                scope[f"d{i}"] = decode
                parts.append(
                    f"d{i}(r[{i}])" if not field.nullable else f"(None if r[{i}] is None else d{i}(r[{i}]))"
                )
        n = len(self.schema.fields)
        tail = f"r[{n + 1}], r[{n + 2}]" if self.schema.history else "None, None"
        # Names and positions only; nothing in it comes from outside.
        made: Callable[[Sequence[Any]], Stored] = eval(  # noqa: S307
            f"lambda r: Stored(make(({', '.join(parts)},), r[{n}]), {tail})", scope
        )
        return made

    def bare(
        self, fields: tuple[str, ...], scoped: bool, bounded: bool, *, by_id: bool
    ) -> tuple[str, Callable[[Any], BareRow] | None]:
        """The statement for rows by a range of ids, and what turns each into a bare one (None: nothing).

        `by_id` reads the range and passes over other tenants' rows. Otherwise SQLite takes the tenant's
        rows and sorts them, which costs as much for the smallest range as for all.
        """
        names = [*fields, "version", *(("_salt", "_entry") if self.schema.history else ())]
        decode = {n: bare_decoder(self.schema.by_name[n]) for n in fields}
        scope = {f"d{i}": decode[n] for i, n in enumerate(fields) if decode[n] is not None}
        text = f'SELECT {", ".join(map(_q, names))} FROM "{self.name}" WHERE "id" > ?'
        tenant = f" AND {'+' if by_id else ''}tenant_id = ?" if scoped else ""
        text += f"{' AND id <= ?' if bounded else ''}{tenant}"
        text += ' ORDER BY "id" LIMIT ?'
        if not scope:
            return text, None
        parts = [
            f"(None if r[{i}] is None else d{i}(r[{i}]))" if f"d{i}" in scope else f"r[{i}]"
            for i in range(len(names))
        ]
        # Names and positions only; nothing in it comes from outside.
        return text, eval(f"lambda r: ({', '.join(parts)},)", scope)  # noqa: S307

    def dump(self, record: Any, fields: Sequence[int] | None = None) -> list[Any]:
        """A record's values as SQLite's, of all fields or those at these places, then its version."""
        read, encoders = self.schema.read, self.encoders
        assert read is not None
        values = read(record)
        row = []
        for i in range(len(values)) if fields is None else fields:
            value, encode = values[i], encoders[i]
            row.append(value if encode is None or value is None else encode(value))
        row.append(record.version)
        return row

    # -- statements ---------------------------------------------------------------------

    @cached_property
    def _scope(self) -> str:
        return ' AND "tenant_id" = ?' if self.schema.scoped else ""

    @cached_property
    def insert(self) -> str:
        names = [*self.schema.names, "version", *self.hidden]
        columns = ", ".join(f'"{n}"' for n in names)
        return f'INSERT INTO "{self.name}" ({columns}) VALUES ({", ".join("?" * len(names))})'

    def update(self, changed: frozenset[str] | None) -> Update:
        """The statement for a change of these fields: indexes of the others are then left alone."""
        wanted = self._all if changed is None else changed
        known = self._updates.get(wanted)
        if known is None:
            if len(self._updates) > CACHED_SHAPES:
                self._updates.clear()
            known = self._updates[wanted] = self._update(wanted)
        return known

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self.schema.names)

    def _update(self, changed: frozenset[str]) -> Update:
        fields = tuple(i for i, f in enumerate(self.schema.fields) if f.name in changed)
        blind = tuple(f.name for f in self.schema.fields if f.blind_index and f.name in changed)
        names = [self.schema.fields[i].name for i in fields]
        names += ["version", *(("_salt", "_entry") if self.schema.history else ())]
        names += [f"{n}_blind" for n in blind]
        settings = ", ".join(f"{_q(n)} = ?" for n in names)
        text = f'UPDATE "{self.name}" SET {settings} WHERE "id" = ? AND "version" = ?{self._scope}'
        return Update(text, fields, blind)

    @cached_property
    def delete(self) -> str:
        return f'DELETE FROM "{self.name}" WHERE "id" = ? AND "version" = ?{self._scope}'

    @cached_property
    def guard(self) -> str:
        return f'SELECT "version" FROM "{self.name}" WHERE "id" = ?{self._scope}'

    def fetch(self, scoped: bool) -> str:
        return (
            f'SELECT {self.columns} FROM "{self.name}" WHERE "id" = ?{" AND tenant_id = ?" if scoped else ""}'
        )

    def select(self, where: Predicate | None, order: Sequence[Order], scoped: bool) -> str:
        keys = tuple((o.field, o.descending) for o in order)
        cache_key = ("select", None if where is None else where.shape, keys, scoped)
        return self.cached(cache_key, lambda: self._select(where, keys, scoped))

    def _select(self, where: Predicate | None, keys: tuple[tuple[str, bool], ...], scoped: bool) -> str:
        ordering = ", ".join(f"{_q(name)}{' DESC' if descending else ''}" for name, descending in keys)
        text = f'SELECT {self.columns} FROM "{self.name}"{self.condition(where, scoped)}'
        return f"{text}{f' ORDER BY {ordering}' if keys else ''} LIMIT ?"

    def count(self, where: Predicate | None, scoped: bool) -> str:
        cache_key = ("count", None if where is None else where.shape, scoped)
        return self.cached(
            cache_key, lambda: f'SELECT count(*) FROM "{self.name}"{self.condition(where, scoped)}'
        )

    def aggregate(
        self, where: Predicate | None, by: tuple[str, ...], measures: Mapping[str, Measure], scoped: bool
    ) -> str:
        figures = [
            measure_sql(m, None if m.field is None else self.known(m.field)) for m in measures.values()
        ]
        groups = ", ".join(_q(name) for name in by)
        columns = ", ".join([*(_q(b) for b in by), *figures])
        text = f'SELECT {columns} FROM "{self.name}"{self.condition(where, scoped)}'
        return f"{text} GROUP BY {groups} ORDER BY {groups}" if by else text

    def search(self, where: Predicate | None, scoped: bool) -> str:
        columns = ", ".join(f"t.{c.strip()}" for c in self.columns.split(","))
        condition = self.condition(where, scoped).removeprefix(" WHERE ")
        extra = f" AND {condition}" if condition else ""
        # Hits come from the index with the row made last first, and no more of them than are wanted.
        return (
            f'SELECT {columns} FROM (SELECT rowid AS _hit FROM "{self.name}_text" '
            f'WHERE "{self.name}_text" MATCH ?) AS x CROSS JOIN "{self.name}" AS t '
            f"ON t._rowid = x._hit WHERE 1{extra} ORDER BY x._hit DESC LIMIT ?"
        )

    # -- conditions ---------------------------------------------------------------------

    def condition(self, where: Predicate | None, scoped: bool) -> str:
        """` WHERE …` with the tenant first, or nothing."""
        parts = ['"tenant_id" = ?'] if scoped else []
        if where is not None:
            parts.append(self.compiled(where.shape))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def bind(self, where: Predicate | None) -> list[Any]:
        """The predicate's values as SQLite's, in the order of the text's question marks."""
        if where is None:
            return []
        binders = self._binders.get(where.shape)
        if binders is None:
            binders = self._binder_list(where.shape)
            if len(self._binders) > CACHED_SHAPES:
                self._binders.clear()
            self._binders[where.shape] = binders
        bound: list[Any] = []
        for value, binder in zip(where.values, binders, strict=True):
            made = value if binder is None else binder(value)
            bound.extend(made) if isinstance(made, _Several) else bound.append(made)
        return bound

    def compiled(self, shape: Shape) -> str:
        kind = shape[0]
        if kind in ("and", "or"):
            return f"({self.compiled(shape[1])} {kind.upper()} {self.compiled(shape[2])})"
        if kind == "not":
            return f"NOT ({self.compiled(shape[1])})"
        if kind == "after":
            return self._row_values(shape[1]) or _keyset(shape[1])
        column = _q(self.known(shape[1]).name)
        if kind == "null":
            return f"{column} IS NULL"
        if kind == "notnull":
            return f"{column} IS NOT NULL"
        if kind == "in":
            # In none: false, but for NULL unknown, so that `not` is as with the other comparisons.
            return (
                f"{column} IN ({', '.join('?' * shape[2])})" if shape[2] else f"({column} IS NULL AND NULL)"
            )
        if kind == "prefix":
            return f"({column} >= ? AND {column} < ?)"
        if kind == "substring":
            return f"instr(lower({column}), lower(?)) > 0"
        if kind == "contains":
            return f"json_contains({column}, ?)"
        return f"{column} {_OPERATORS[kind]} ?"

    def _row_values(self, keys: tuple[tuple[str, bool, bool], ...]) -> str:
        """`(a, b) > (?, ?)` if all keys go one way and none can be NULL: an index serves it. Else nothing."""
        names = [name for name, *_ in keys]
        if len({descending for _, descending, _ in keys}) > 1 or any(self.known(n).nullable for n in names):
            return ""
        operator = "<" if keys[0][1] else ">"
        return f"({', '.join(map(_q, names))}) {operator} ({', '.join('?' * len(keys))})"

    def _binder_list(self, shape: Shape) -> list[Callable[[Any], Any] | None]:
        kind = shape[0]
        if kind in ("and", "or"):
            return self._binder_list(shape[1]) + self._binder_list(shape[2])
        if kind == "not":
            return self._binder_list(shape[1])
        if kind in ("null", "notnull"):
            return []
        if kind == "after":
            encoders = [self._by_field[name] for name, _, null in shape[1] if not null]
            if self._row_values(shape[1]):
                return encoders
            last_is_bound = not shape[1][-1][2]
            doubled: list[Callable[[Any], Any] | None] = [_twice(e) for e in encoders]
            return [*doubled[:-1], encoders[-1]] if last_is_bound else doubled
        encode = self._by_field[self.known(shape[1]).name]
        if kind == "in":
            return [encode] * shape[2]
        if kind == "prefix":
            return [_prefix_range]
        if kind == "substring":
            return [None]
        if kind == "contains":
            return [lambda v: msgspec.json.encode(to_plain(v)).decode()]
        return [encode]

    def known(self, name: str) -> FieldSchema:
        field = self.schema.by_name.get(name)
        if field is None:
            if name == "version":
                return FieldSchema(name="version", kind=Kind.INTEGER)
            raise TypeError(f"{self.name} has no field {name!r}")
        return field

    def cached(self, key: Any, make: Callable[[], str]) -> str:
        text = self._texts.get(key)
        if text is None:
            if len(self._texts) > CACHED_SHAPES:
                self._texts.clear()
            text = self._texts[key] = make()
        return text


def traverse(tables: Mapping[str, Table], start: Schema, hops: Sequence[Hop]) -> tuple[str, Table]:
    """One statement for a path of hops, as nested `IN`s; its end is a table whose columns are read."""
    inner = f'SELECT "id" FROM "{start.table}" WHERE "id" = ? AND {_tenant_of(start)} = ?'
    end = tables[start.table]
    for hop in hops:
        if hop.forward:
            end = tables[hop.schema.table]
            scope = f"{_tenant_of(hop.schema)} = ?"
            inner = f'SELECT "id" FROM "{end.name}" WHERE {_q(hop.field)} IN ({inner}) AND {scope}'
        else:
            target = str(hop.schema.by_name[hop.field].references)
            end = tables[target]
            inner = f'SELECT {_q(hop.field)} FROM "{hop.schema.table}" WHERE "id" IN ({inner})'
            inner = f'SELECT "id" FROM "{target}" WHERE "id" IN ({inner}) AND {_tenant_of(end.schema)} = ?'
    return f'SELECT {end.columns} FROM "{end.name}" WHERE "id" IN ({inner}) ORDER BY "id" LIMIT ?', end


def _tenant_of(schema: Schema) -> str:
    return '"tenant_id"' if schema.scoped else '"id"'


class _Several(list[Any]):
    """More than one bound value for one of the predicate's."""


def _prefix_range(text: str) -> _Several:
    """`x >= text AND x < successor`, which an index serves and LIKE would not.

    The successor is the text with its last character replaced by the next one that there
    is. Where none is left, the upper end is a BLOB: to SQLite every text is below it.
    """
    head = text.rstrip("\U0010ffff")
    if not head:
        return _Several([text, b""])
    code = ord(head[-1]) + 1
    return _Several([text, head[:-1] + chr(0xE000 if code == 0xD800 else code)])


def _keyset(keys: tuple[tuple[str, bool, bool], ...]) -> str:
    """Rows after a position, key by key: `a > ? OR (a = ? AND (b > ? …))`.

    NULL is below everything, as SQLite orders it.
    """
    name, descending, null = keys[0]
    column = _q(name)
    if null:
        beyond = "0" if descending else f"{column} IS NOT NULL"
        same = f"{column} IS NULL"
    else:
        beyond = f"({column} < ? OR {column} IS NULL)" if descending else f"{column} > ?"
        same = f"{column} = ?"
    return beyond if len(keys) == 1 else f"({beyond} OR ({same} AND {_keyset(keys[1:])}))"


def _twice(encode: Codec | None) -> Callable[[Any], Any]:
    return lambda v: _Several([v, v] if encode is None else [encode(v)] * 2)


def _q(name: str) -> str:
    return f'"{name}"'
