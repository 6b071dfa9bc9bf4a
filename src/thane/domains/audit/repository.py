"""The audit log's queries: ledger rows and access rows as one list, in one order.

Both tables are read by the same keyset (time, then id), so a page is the merge of a page
of each. A filter speaks of audit fields; for access rows it is translated to theirs, to
something that lets no matching row out, and each row is then judged by the filter itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from thane.domains.audit.entities import UNSEALED_AT_QUERY, AuditLog, AuditStatus
from thane.kernel.clock import from_us, to_us
from thane.kernel.errors import Fault, Invalid
from thane.kernel.operations.entities import AccessRow
from thane.kernel.operations.listing import ListRequest
from thane.kernel.paging import Keyset, Page, after
from thane.kernel.records import Order, Predicate, Unit, Walked, all_of, schema_of
from thane.kernel.records.filter import parse_filter, parse_sort
from thane.kernel.records.predicate import Shape, matches

_SAME = frozenset(
    {"id", "tenant_id", "user_id", "resource_type", "resource_id", "request_id", "run_id", "created_at"}
)
_RENAMED = {"actor": "principal_id", "error_message": "code"}
_PAGE = 500


def access_as_audit(row: AccessRow) -> AuditLog:
    """A request that left no entry, as a row of the audit log."""
    resource_type, _, action = row.operation.partition(".")
    return AuditLog(
        id=row.id,
        tenant_id=row.tenant_id,
        project_id=None,
        user_id=row.user_id,
        actor=row.principal_id,
        action=action,
        resource_type=resource_type,
        resource_id=row.resource_id,
        status=AuditStatus.FAILURE if row.status >= 400 else AuditStatus.SUCCESS,
        error_message=row.code,
        ip_address=row.ip_address,
        user_agent=row.user_agent,
        request_id=row.request_id,
        run_id=row.run_id,
        details=None,
        entry_index=None,
        created_at=row.created_at,
    )


async def page(unit: Unit, request: ListRequest) -> Page[AuditLog]:
    """One page, newest first unless `sort` is `created_at`. Details are not opened yet.

    Invalid for a filter on what is sealed, and for another sort.
    """
    schema = schema_of(AuditLog)
    wanted = parse_filter(schema, request.filter)
    _refuse_sealed(wanted)
    order = _order(parse_sort(schema, request.sort))
    keyset = Keyset(schema, order, request.filter)
    behind, newest_first = keyset.values(request.cursor), keyset.order[0].descending
    count = request.limit + 1
    from_ledger = await unit.walk(AuditLog, wanted, keyset.order, behind, count)
    from_access = await _access_page(unit, wanted, keyset.order, behind, count)
    both = list(islice(merge(from_ledger.rows, from_access.rows, key=_place, reverse=newest_first), count))
    # Where one of the two stopped, rows of its own may lie before those of the other that come next.
    ends = [end for end in (from_ledger.stopped, from_access.stopped) if end is not None]
    stopped = (max if newest_first else min)(ends) if ends else None
    if stopped is not None:
        limit = (to_us(stopped[0]), stopped[1])
        both = [row for row in both if (_place(row) >= limit if newest_first else _place(row) <= limit)]
    total = await _total(unit, wanted) if request.total else None
    return keyset.page(both, request.limit, total, stopped)


async def access_between(unit: Unit, start_us: int, stop_us: int) -> AsyncIterator[AccessRow]:
    """Access rows of others than `system` made in [start, stop), in order of time and id."""
    from_time = AccessRow.created_at >= from_us(start_us)
    where = from_time & (AccessRow.created_at < from_us(stop_us)) & (AccessRow.principal_kind != "system")
    async for row in _rows(unit, where, (Order("created_at", False), Order("id", False))):
        yield row


async def _access_page(
    unit: Unit,
    wanted: Predicate | None,
    order: Sequence[Order],
    behind: Sequence[Any] | None,
    count: int,
) -> Walked[AuditLog]:
    """Up to `count` access rows as audit rows. One walk: what it lets through too much is passed over."""
    translated = None if wanted is None else _translated(wanted)
    found = await unit.walk(AccessRow, translated, order, behind, count if wanted is None else _PAGE)
    shown = [access_as_audit(row) for row in found.rows]
    stopped = found.stopped
    if wanted is not None:
        if len(shown) == _PAGE:
            stopped = (found.rows[-1].created_at, found.rows[-1].id)
        shown = [r for r in shown if matches(wanted, lambda name, r=r: getattr(r, name))]
    if len(shown) >= count:
        return Walked(shown[:count], None)
    return Walked(shown, stopped)


async def _access(
    unit: Unit, wanted: Predicate | None, behind: Predicate | None, order: Sequence[Order]
) -> AsyncIterator[AuditLog]:
    translated = None if wanted is None else _translated(wanted)
    async for row in _rows(unit, all_of((translated, behind)), order):
        shown = access_as_audit(row)
        if wanted is None or matches(wanted, lambda name, shown=shown: getattr(shown, name)):
            yield shown


async def _rows(unit: Unit, where: Predicate | None, order: Sequence[Order]) -> AsyncIterator[AccessRow]:
    behind: Predicate | None = None
    while True:
        rows = await unit.list(AccessRow, all_of((where, behind)), order, _PAGE)
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return
        behind = after(order, (rows[-1].created_at, rows[-1].id))


async def _total(unit: Unit, wanted: Predicate | None) -> int:
    of_ledger = await unit.count(AuditLog, wanted)
    if wanted is None:
        return of_ledger + await unit.count(AccessRow)
    of_access = 0
    async for _ in _access(unit, wanted, None, (Order("created_at", True), Order("id", True))):
        of_access += 1
    return of_ledger + of_access


def _place(row: AuditLog) -> tuple[int, str]:
    return to_us(row.created_at), row.id


def _order(asked: Sequence[Order]) -> tuple[Order, ...]:
    if not asked:
        return (Order("created_at", True),)
    if [key.field for key in asked] not in (["created_at"], ["created_at", "id"]):
        detail = "the audit log is sorted by time: created_at or -created_at"
        raise Invalid(detail, faults=(Fault("/sort", "sort", detail),))
    return (Order("created_at", asked[0].descending),)


def _refuse_sealed(wanted: Predicate | None) -> None:
    named = set() if wanted is None else {name for name, _, _ in _leaves(wanted.shape, iter(wanted.values))}
    sealed = sorted(named & set(UNSEALED_AT_QUERY))
    if sealed:
        detail = f"{', '.join(sealed)} is sealed in the ledger and cannot be searched"
        raise Invalid(
            detail,
            hint="Filter by who, what, outcome, run_id, request_id or created_at.",
            faults=(Fault("/filter", "sealed", detail),),
        )


# -- a filter on audit fields as one on access rows --------------------------------------------


def _leaves(shape: Shape, values: Iterator[Any]) -> Iterator[tuple[str, Shape, tuple[Any, ...]]]:
    """Each comparison of a predicate: (field, shape, its values)."""
    if shape[0] in ("and", "or"):
        yield from _leaves(shape[1], values)
        yield from _leaves(shape[2], values)
    elif shape[0] == "not":
        yield from _leaves(shape[1], values)
    else:
        count = shape[2] if shape[0] == "in" else 0 if shape[0] in ("null", "notnull") else 1
        yield shape[1], shape, tuple(islice(values, count))


def _translated(wanted: Predicate) -> Predicate | None:
    """What every access row that matches `wanted` matches too; None if that can only be everything."""
    found = _translate(wanted.shape, iter(wanted.values))
    return found[0]


def _translate(shape: Shape, values: Iterator[Any]) -> tuple[Predicate | None, bool]:
    """(predicate, whether it is exact). Only what is exact may be negated or stand in an `or`."""
    if shape[0] in ("and", "or"):
        left, left_exact = _translate(shape[1], values)
        right, right_exact = _translate(shape[2], values)
        if shape[0] == "and":
            return all_of((left, right)), left_exact and right_exact
        if left is None or right is None:
            return None, False
        return left | right, left_exact and right_exact
    if shape[0] == "not":
        inner, exact = _translate(shape[1], values)
        return (None, False) if inner is None or not exact else (~inner, True)
    ((name, own, bound),) = _leaves(shape, values)
    return _comparison(name, own, bound)


def _comparison(name: str, shape: Shape, values: tuple[Any, ...]) -> tuple[Predicate | None, bool]:
    if name in _SAME:
        return Predicate(shape, values), True
    if name in _RENAMED:
        return Predicate((shape[0], _RENAMED[name], *shape[2:]), values), True
    if name == "status" and shape[0] == "=":
        failed = AccessRow.status >= 400
        return (failed if values[0] == AuditStatus.FAILURE.value else ~failed), True
    if name == "action" and shape[0] == "=":
        return AccessRow.operation.has(f".{values[0]}"), False
    return None, False
