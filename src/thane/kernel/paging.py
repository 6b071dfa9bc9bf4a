"""Pages of a list: what is asked for, what is answered, and the cursor between the two.

A cursor is the place of the last row: the values of the sort keys, not a number of rows,
so nothing is skipped or shown twice while rows come and go, and page 1000 costs what
page 1 does. It also holds a digest of the query, so that a cursor of one list is refused
by another. It is no secret and no permission: whoever writes one by hand only chooses a
place in a list that they may read. This module does not fetch anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from thane.kernel import canonical
from thane.kernel.clock import from_us, to_us
from thane.kernel.errors import Fault, Invalid
from thane.kernel.money import fits
from thane.kernel.records.predicate import Order, Predicate
from thane.kernel.records.schema import FieldSchema, Kind, Schema

T = TypeVar("T")
Value = str | int | bool | Decimal | datetime | None

DEFAULT_LIMIT = 30
MAX_LIMIT = 500
MAX_CURSOR_CHARS = 16_384
VERSION = 1
_INT64 = 1 << 63


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page. `next_cursor` is None on the last one; `total` only where it was asked for."""

    items: tuple[T, ...]
    next_cursor: str | None = None
    total: int | None = None


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which page. Invalid unless `limit` is from 1 to 500."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    order: tuple[Order, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            detail = f"limit is {self.limit}; it must be from 1 to {MAX_LIMIT}"
            raise Invalid(detail, faults=(Fault("/limit", "out_of_range", detail),))


def total_order(order: Sequence[Order]) -> tuple[Order, ...]:
    """`order` with `id` as its last key, in the direction of the key before it, and nothing after `id`.

    The id makes the order total; the same direction lets one index serve both.
    """
    keys: list[Order] = []
    for key in order:
        keys.append(key)
        if key.field == "id":
            return tuple(keys)
    return (*keys, Order("id", keys[-1].descending if keys else False))


def after(order: Sequence[Order], values: Sequence[Value]) -> Predicate:
    """The rows behind the one that has these `values` of `total_order(order)`."""
    keys = total_order(order)
    if len(keys) != len(values):
        raise ValueError(f"{len(values)} values for {len(keys)} sort keys")
    shape = tuple((key.field, key.descending, value is None) for key, value in zip(keys, values, strict=True))
    return Predicate(("after", shape), tuple(value for value in values if value is not None))


class Keyset:
    """The order of one query, and its cursors. `filter_text` is the filter as the caller wrote it."""

    def __init__(self, schema: Schema, order: Sequence[Order] = (), filter_text: str = "") -> None:
        self.order = total_order(order)
        self._fields = [schema.by_name[key.field] for key in self.order]
        self.digest = query_digest(schema, self.order, filter_text)

    def cursor(self, record: Any) -> str:
        """The cursor behind this record."""
        return encode_cursor(self.digest, [getattr(record, field.name) for field in self._fields])

    def after(self, cursor: str | None) -> Predicate | None:
        """The rows behind `cursor`; None for the first page. Invalid if it is not of this query."""
        return None if cursor is None else after(self.order, decode_cursor(cursor, self.digest, self._fields))

    def values(self, cursor: str | None) -> tuple[Value, ...] | None:
        """The sort keys in a cursor; None for the first page. Invalid if it is not of this query."""
        return None if cursor is None else decode_cursor(cursor, self.digest, self._fields)

    def page(
        self,
        records: Sequence[T],
        limit: int,
        total: int | None = None,
        stopped: Sequence[Any] | None = None,
    ) -> Page[T]:
        """The answer, from up to `limit + 1` rows: the one too many says that there is a next page.

        So does `stopped`: the place up to which rows were looked at without finding as many.
        """
        items = tuple(records[:limit])
        following = None
        if len(records) > limit:
            following = self.cursor(items[-1])
        elif stopped is not None:
            following = encode_cursor(self.digest, stopped)
        return Page(items=items, next_cursor=following, total=total)


def query_digest(schema: Schema, order: Sequence[Order], filter_text: str) -> str:
    """What a cursor is bound to: table, its version, order and filter. Against mix-ups only."""
    parts = [
        schema.table,
        schema.version,
        [[key.field, key.descending] for key in order],
        filter_text.strip().encode("utf-8", "backslashreplace").decode(),
    ]
    return hashlib.sha256(canonical.encode(parts)).hexdigest()[:16]


def encode_cursor(digest: str, values: Sequence[Any]) -> str:
    """Base64url of canonical JSON `[version, digest, [values]]`; numbers and times carry their type."""
    raw = canonical.encode([VERSION, digest, [_tagged(value) for value in values]])
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    if len(text) > MAX_CURSOR_CHARS:
        raise _refused("the last row's values are too long for a cursor", "Sort by a shorter field.")
    return text


def decode_cursor(cursor: str, digest: str, fields: Sequence[FieldSchema]) -> tuple[Value, ...]:
    """The values in a cursor, each of its field's kind. Invalid for all but a cursor of this query."""
    parts = _decoded(cursor)
    if parts is None:
        raise _refused("the cursor cannot be read", "Send `next_cursor` of the page before, unchanged.")
    version, found, tagged = parts
    if version != VERSION or found != digest or len(tagged) != len(fields):
        raise _refused(
            "the cursor belongs to another list, filter or sort",
            "Keep filter and sort while paging, or start again without a cursor.",
        )
    try:
        return tuple(_value(field, item) for field, item in zip(fields, tagged, strict=True))
    except (ValueError, OverflowError, InvalidOperation):
        raise _refused(
            "the cursor cannot be read", "Send `next_cursor` of the page before, unchanged."
        ) from None


def _refused(detail: str, hint: str) -> Invalid:
    return Invalid(detail, hint=hint, faults=(Fault("/cursor", "cursor", detail),))


def _decoded(cursor: str) -> tuple[int, str, list[Any]] | None:
    if len(cursor) > MAX_CURSOR_CHARS or not cursor.isascii():
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=tuple[int, str, list[Any]])
    except (binascii.Error, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def _tagged(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, Decimal):
        return {"d": str(value)}
    if isinstance(value, datetime):
        return {"t": str(to_us(value))}
    raise TypeError(f"a {type(value).__name__} cannot be a sort key")


_TAGS = {Kind.INTEGER: "i", Kind.DECIMAL: "d", Kind.TIME: "t"}


def _value(field: FieldSchema, item: Any) -> Value:
    """ValueError and its like if `item` is not what this field would have given."""
    if item is None or (field.kind is Kind.TEXT and isinstance(item, str) and "\0" not in item):
        return item
    if field.kind is Kind.BOOLEAN and isinstance(item, bool):
        return item
    tag = _TAGS.get(field.kind)
    text = item.get(tag) if tag and isinstance(item, dict) and len(item) == 1 else None
    if not isinstance(text, str) or len(text) > 100 or not text.isascii():
        raise ValueError(text)
    if field.kind is Kind.DECIMAL:
        number = Decimal(text)
        if not fits(number, field.precision, field.scale):
            raise ValueError(text)
        return number
    whole = int(text)
    if not -_INT64 <= whole < _INT64:
        raise ValueError(text)
    return from_us(whole) if field.kind is Kind.TIME else whole
