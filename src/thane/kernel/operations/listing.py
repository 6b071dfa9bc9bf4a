"""A list operation in one call: filter, sort, cursor, limit and total over an entity.

    class ListNotes(ListRequest):
        folder_id: str | None = None

    async def list_(notes: Notes, unit: Unit, request: ListNotes) -> Page[Note]:
        return await list_page(unit, Note, request, where=…)

`fields` is not here: hosts leave fields out of what they show, whatever the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from thane.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT, Keyset, Page
from thane.kernel.records.entity import schema_of
from thane.kernel.records.filter import parse_filter, parse_sort
from thane.kernel.records.predicate import Order, Predicate, all_of
from thane.kernel.records.serving import newest_first
from thane.kernel.records.unit import Unit

E = TypeVar("E")


class ListRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every list takes. `filter`: `status = "queued" && cost > 1.5`; `sort`: `-created_at,name`."""

    filter: Annotated[str, Meta(description='Such as `status = "queued" && cost > 1.5`.')] = ""
    sort: Annotated[str, Meta(description="Fields, each with `-` for descending: `-created_at,name`.")] = ""
    cursor: Annotated[str | None, Meta(description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="Rows on a page.")] = DEFAULT_LIMIT
    total: Annotated[bool, Meta(description="Count all matching rows too; costs more than the page.")] = False


async def list_page(
    unit: Unit,
    cls: type[E],
    request: ListRequest,
    *,
    where: Predicate | None = None,
    order: Sequence[Order] = (),
) -> Page[E]:
    """One page of `cls`. `where` is the own condition of the operation, `order` its order without a `sort`
    (the newest first if that is left out too). A page may hold fewer rows than `limit`, even none, and
    still have a next one: of a filter that no index serves it looks at a bounded number of rows.
    Invalid for a filter, sort or cursor that does not fit."""
    schema = schema_of(cls)
    keys = parse_sort(schema, request.sort) or tuple(order) or newest_first(schema)
    condition = all_of((where, parse_filter(schema, request.filter)))
    # By its shape only: a condition on the present moment has other values on the next page.
    own = "" if where is None else f"\n{where.shape!r}"
    keyset = Keyset(schema, keys, request.filter + own)
    total = await unit.count(cls, condition) if request.total else None
    behind = keyset.values(request.cursor)
    rows, stopped = await unit.walk(cls, condition, keyset.order, behind, request.limit + 1)
    return keyset.page(rows, request.limit, total, stopped)
