"""What a module gives `thane verify` to check beyond what the kernel knows. Types only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from thane.kernel.records.store import Records


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in a store that does not agree. `kind` is stable; `tenant_id` is empty for the root log."""

    kind: str
    tenant_id: str
    message: str
    index: int | None = None
    row: str | None = None

    def __str__(self) -> str:
        where = self.tenant_id or "root log"
        at = "" if self.index is None else f" entry {self.index}"
        row = "" if self.row is None else f" row {self.row}"
        return f"{self.kind}: {where}{at}{row}: {self.message}"


class CounterCheck(msgspec.Struct, frozen=True):
    """`recompute(records, tenant_id)` gives the counter rows of a tenant as their sources say they must be.

    Compared by id, field by field but for `ignore` (and the version). A row that is not
    recomputed must not be there, unless all its numbers are zero.
    """

    entity: type[Any]
    recompute: Callable[[Records, str], Awaitable[Iterable[Any]]]
    ignore: tuple[str, ...] = ()


class TenantCheck(msgspec.Struct, frozen=True, kw_only=True):
    """`run(records, tenant_id, indexes)` yields what is wrong in one tenant.

    `indexes` are the entries of `operations` among those that are verified; `verify` has
    found them on its way, so that a check needs no walk through the ledger of its own.
    """

    name: str
    run: Callable[[Records, str, Sequence[int]], AsyncIterator[Problem]]
    operations: tuple[str, ...] = ()
