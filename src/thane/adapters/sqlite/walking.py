"""Pages of a list, read along an index that is named in the statement: see `Walk`.

A filter that the index does not serve is asked of each row on the way. The rows looked at are
the inner statement, with its own limit; SQLite runs it as a coroutine of the outer one, in its
order, and no further than the outer needs. This module must not choose the index.
"""

from __future__ import annotations

from typing import Any

from thane.adapters.sqlite.codecs import decoder
from thane.adapters.sqlite.compile import Table
from thane.adapters.sqlite.reader import Reader
from thane.kernel.records.engine import Stored, Walk, Walked
from thane.kernel.records.predicate import Predicate, Shape


async def walk_along(reader: Reader, table: Table, walk: Walk) -> Walked[Stored]:
    """The page; see `Engine.walk`."""
    rows: list[Any] = []
    stopped = None
    for within in walk.within:
        args = _range(table, walk, within)
        if walk.where is not None:
            args += [*([] if walk.most is None else [walk.most]), *table.bind(walk.where)]
        rows += await reader.rows(
            _page(table, walk, within), [*args, walk.limit - len(rows)], table.name, "list"
        )
        if len(rows) == walk.limit:
            break
        if walk.most is not None and walk.where is not None:
            args = [*_range(table, walk, within), walk.most - 1]
            last = await reader.rows(_place(table, walk, within), args, table.name, "list")
            if last:
                stopped = _keys(table, walk, last[0])
                break
    return Walked([table.load(r) for r in rows], stopped)


async def goes_on(reader: Reader, table: Table, walk: Walk, count: int) -> bool:
    """See `Engine.has_more`."""
    sql = f"SELECT 1 {_along(table, walk, walk.within[0])} LIMIT 1 OFFSET ?"
    args = [*_range(table, walk, walk.within[0]), count]
    return bool(await reader.rows(sql, args, table.name, "count"))


def _range(table: Table, walk: Walk, within: Predicate | None) -> list[Any]:
    return [*([] if walk.tenant_id is None else [walk.tenant_id]), *table.bind(within)]


def _page(table: Table, walk: Walk, within: Predicate | None) -> str:
    """Bound are: [tenant], range, [rows to look at], condition, limit."""
    keys = tuple((o.field, o.descending) for o in walk.order)
    key = (
        "walk",
        walk.index,
        _shape(within),
        _shape(walk.where),
        keys,
        walk.tenant_id is None,
        walk.most is None,
    )
    return table.cached(key, lambda: _page_text(table, walk, within))


def _page_text(table: Table, walk: Walk, within: Predicate | None) -> str:
    along, order = _along(table, walk, within), _ordering(walk)
    if walk.where is None:
        return f"SELECT {table.columns} {along} ORDER BY {order} LIMIT ?"
    condition = table.compiled(walk.where.shape)
    if walk.most is None:
        joint = "AND" if " WHERE " in along else "WHERE"
        return f"SELECT {table.columns} {along} {joint} {condition} ORDER BY {order} LIMIT ?"
    return (
        f"SELECT {table.columns} FROM (SELECT * {along} ORDER BY {order} LIMIT ?) WHERE {condition} LIMIT ?"
    )


def _place(table: Table, walk: Walk, within: Predicate | None) -> str:
    """The sort keys of the row at an offset in a range."""
    names = ", ".join(f'"{o.field}"' for o in walk.order)
    return f"SELECT {names} {_along(table, walk, within)} ORDER BY {_ordering(walk)} LIMIT 1 OFFSET ?"


def _along(table: Table, walk: Walk, within: Predicate | None) -> str:
    named = "" if walk.index is None else f' INDEXED BY "{walk.index}"'
    return f'FROM "{table.name}"{named}{table.condition(within, walk.tenant_id is not None)}'


def _ordering(walk: Walk) -> str:
    return ", ".join(f'"{o.field}"{" DESC" if o.descending else ""}' for o in walk.order)


def _keys(table: Table, walk: Walk, row: tuple[Any, ...]) -> tuple[Any, ...]:
    decode = [decoder(table.known(o.field)) for o in walk.order]
    return tuple(v if d is None or v is None else d(v) for d, v in zip(decode, row, strict=True))


def _shape(where: Predicate | None) -> Shape | None:
    return None if where is None else where.shape
