"""Which index serves a list: so that a page costs the same however many rows there are.

A list is read along one index: the columns that the filter holds to one value come first in
it, then the sort keys, then the id. What the filter asks beyond that is looked at row by row,
a bounded number of rows a page. An engine is told the index rather than left to guess it. This
module knows declarations only; it reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from thane.kernel.errors import Fault, Invalid
from thane.kernel.records.engine import Selection, Walk
from thane.kernel.records.predicate import Order, Predicate, all_of
from thane.kernel.records.schema import IndexSchema, Kind, Schema

# Rows that one page looks at, and that a sort without an index may bring into order.
LOOKED_AT: Final = 2_000

_RANGES = frozenset(("=", "<", "<=", ">", ">=", "prefix", "null", "notnull"))


class Path(NamedTuple):
    """`along`: an index's name (None: the schema has none that fits). `ordered`: it gives the rows in order.
    `served` is the part of the filter that bounds what is read of it, `rest` what each row is asked."""

    along: str | None
    ordered: bool
    served: Predicate | None
    rest: Predicate | None


def path_of(schema: Schema, where: Predicate | None, keys: Sequence[Order]) -> Path:
    """The best way to rows that match, ordered by `keys` (with the id last)."""
    parts = list(conjuncts(where))
    equal = {part.shape[1] for part in parts if part.shape[0] == "="}
    best: tuple[tuple[bool, int, int], IndexSchema, list[str]] | None = None
    for index in schema.indexes:
        fixed = None if index.where is not None else _fixed(schema, index, equal)
        if fixed is None:
            continue
        free = _columns(index)[len(fixed) :]
        rank = (_in_order(index, free, keys), len(fixed), -len(index.columns))
        if best is None or rank > best[0]:
            best = (rank, index, fixed)
    if best is None:
        return Path(None, False, None, where)
    (ordered, *_), chosen, fixed = best
    first = keys[0].field if ordered else ""
    served = [p for p in parts if _serves(p, fixed, first)]
    return Path(
        chosen.name, ordered, all_of(served), all_of(p for p in parts if not _serves(p, fixed, first))
    )


def walk_of(selection: Selection, behind: Sequence[Any] | None) -> Walk:
    """How to read a page of a selection behind the place with these sort keys (None: from the start)."""
    schema, keys = selection.schema, selection.order
    path = path_of(schema, selection.where, keys)
    ranges = [None] if behind is None else segments(schema, keys, behind)
    within = tuple(all_of((path.served, r)) for r in ranges) if path.ordered else (path.served,)
    return Walk(
        schema=schema,
        tenant_id=selection.tenant_id,
        index=path.along,
        within=within,
        where=path.rest if path.ordered else all_of((path.rest, _any_of(ranges))),
        order=keys,
        limit=selection.limit,
        most=LOOKED_AT if path.ordered else None,
    )


def too_many_to_sort(walk: Walk) -> Invalid:
    """What is said where no index gives the order."""
    names = ", ".join(key.field for key in walk.order if key.field != "id") or "id"
    detail = f"there are more than {LOOKED_AT} {walk.schema.table} to be sorted by {names}"
    return Invalid(
        detail,
        hint=f"Sort by {', '.join(sortable(walk.schema))}, or filter so that fewer are left.",
        faults=(Fault("/sort", "too_many_to_sort", detail),),
    )


def sortable(schema: Schema) -> tuple[str, ...]:
    """Fields that an index gives all rows of a tenant in the order of."""
    return tuple(
        field.name
        for field in schema.fields
        if field.kind not in (Kind.JSON, Kind.BYTES)
        and path_of(schema, None, _by(field.name, descending=False)).ordered
    )


def newest_first(schema: Schema) -> tuple[Order, ...]:
    """The order of a list that names none: by the first time that is indexed, else by id."""
    for index in schema.indexes:
        for name, descending in _columns(index)[1:2]:
            field = schema.by_name.get(name)
            if index.columns[0] == "tenant_id" and descending and field and field.kind is Kind.TIME:
                return (Order(name, True),)
    return (Order("id", True),)


def conjuncts(where: Predicate | None) -> Iterator[Predicate]:
    """The conditions that all have to hold."""
    if where is not None:
        yield from _split(where.shape, iter(where.values))


def segments(schema: Schema, keys: Sequence[Order], values: Sequence[Any]) -> list[Predicate]:
    """The rows behind a place, as ranges one after the other that an index serves each.

    Only a first key that can be NULL takes two: NULL is below everything, and no range holds both.
    """
    behind = Predicate(
        ("after", tuple((k.field, k.descending, v is None) for k, v in zip(keys, values, strict=True))),
        tuple(v for v in values if v is not None),
    )
    first, value = keys[0], values[0]
    if first.field == "id" or not schema.by_name[first.field].nullable:
        return [behind]
    nulls = Predicate(("null", first.field))
    if value is None:
        rest = all_of((nulls, *segments(schema, keys[1:], values[1:])))
        assert rest is not None
        return [rest] if first.descending else [rest, Predicate(("notnull", first.field))]
    bound = Predicate(("<=" if first.descending else ">=", first.field), (value,))
    return [bound & behind, nulls] if first.descending else [bound & behind]


def _split(shape: Any, values: Iterator[Any]) -> Iterator[Predicate]:
    if shape[0] == "and":
        yield from _split(shape[1], values)
        yield from _split(shape[2], values)
    else:
        yield Predicate(shape, tuple(islice(values, _count(shape))))


def _count(shape: Any) -> int:
    kind = shape[0]
    if kind in ("and", "or"):
        return _count(shape[1]) + _count(shape[2])
    if kind == "not":
        return _count(shape[1])
    if kind == "after":
        return sum(not null for _, _, null in shape[1])
    return int(shape[2]) if kind == "in" else int(kind not in ("null", "notnull"))


def _columns(index: IndexSchema) -> list[tuple[str, bool]]:
    return [(c.removesuffix(" DESC"), c.endswith(" DESC")) for c in index.columns]


def _fixed(schema: Schema, index: IndexSchema, equal: set[str]) -> list[str] | None:
    """The first columns that have one value; None if other tenants' rows would lie between."""
    fixed = []
    for name, _ in _columns(index):
        if not (name in equal or (name == "tenant_id" and schema.scoped)):
            break
        fixed.append(name)
    if not schema.scoped or "tenant_id" in fixed:
        return fixed
    # A row that is referred to belongs to one tenant, and so do those that refer to it.
    return fixed if fixed and schema.by_name[fixed[0]].references is not None else None


def _in_order(index: IndexSchema, free: Sequence[tuple[str, bool]], keys: Sequence[Order]) -> bool:
    """Whether the columns that are left are the keys, all in one direction or all in the other."""
    wanted = [(key.field, key.descending) for key in keys]
    given = list(free)
    if given and given[-1][0] != "id":
        given.append(("id", given[-1][1]))
    elif not given:
        return [name for name, _ in wanted] == ["id"]
    if [name for name, _ in given] != [name for name, _ in wanted]:
        return False
    return len({a == b for (_, a), (_, b) in zip(given, wanted, strict=True)}) == 1


def _serves(part: Predicate, fixed: Sequence[str], first: str) -> bool:
    kind, name = part.shape[0], part.shape[1]
    return (kind == "=" and name in fixed) or (kind in _RANGES and name == first)


def _by(field: str, *, descending: bool) -> tuple[Order, ...]:
    return (
        (Order("id", descending),) if field == "id" else (Order(field, descending), Order("id", descending))
    )


def _any_of(ranges: Sequence[Predicate | None]) -> Predicate | None:
    """The rows of several ranges together."""
    made: Predicate | None = None
    for range_ in ranges:
        made = range_ if made is None or range_ is None else made | range_
    return made
