"""Lists: iterate over all of a list, and pages come as they are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from thane.client._async.core import AsyncCore, Fields
from thane.client.convert import read
from thane.client.op import Op

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page. `next_cursor` is None on the last one; `total` only where it was asked for."""

    items: list[T]
    next_cursor: str | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    items: list[Any]
    next_cursor: str | None = None
    total: int | None = None


class AsyncPages(Generic[T]):
    """A list that is asked for while it is read. Iterate as often as you like: each time it is asked anew."""

    def __init__(
        self, core: AsyncCore, op: Op, kind: type[T], values: Fields, fields: dict[str, Any]
    ) -> None:
        self._core = core
        self._op = op
        self._kind: type[T] = kind
        self._values = values
        self._fields = fields

    async def page(self, cursor: str | None = None, *, total: bool = False) -> Page[T]:
        """One page: the first, or the one that `next_cursor` of another leads to. `total` counts all."""
        fields = dict(self._fields)
        if cursor is not None:
            fields["cursor"] = cursor
        if total:
            fields["total"] = True
        raw = await self._core.call(self._op, _Raw, self._values, fields)
        items = [read(self._kind, item, self._core) for item in raw.items]
        return Page(items=items, next_cursor=raw.next_cursor, total=raw.total)

    async def first(self) -> T | None:
        """The first item; None if there is none."""
        one = AsyncPages(self._core, self._op, self._kind, self._values, {**self._fields, "limit": 1})
        items = (await one.page()).items
        return items[0] if items else None

    async def __aiter__(self) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            page = await self.page(cursor)
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return
