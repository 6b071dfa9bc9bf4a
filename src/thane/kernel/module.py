"""What a domain hands to the rest: one value, made in its `module.py`, read by bootstrap.

Nothing here runs. Bootstrap loops over modules and gives each part to who wants it: the
schemas to the store, the operations to the registry, the jobs to the runner.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from thane.kernel.live.parent import Streamed
from thane.kernel.operations.registry import Operations
from thane.kernel.records.predicate import Predicate
from thane.kernel.records.schema import Schema


class After(msgspec.Struct, frozen=True):
    """The row that `reference` names holds others up: they stay until its `field` is old, too."""

    schema: Schema
    reference: str
    field: str


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a schema without history that are deleted once `field` is older than the setting says.

    `setting` is a name in `retention.*` that ends with `_days`; without one, `field` itself
    says when the row has had its time. `where`: only such rows. `after`: not before another
    row is as old. `sealed_by`: not before that consumer's cursor, a time in µs, has passed
    the row: the ledger then holds a digest of it.
    """

    schema: Schema
    field: str
    setting: str = ""
    where: Predicate | None = None
    after: After | None = None
    sealed_by: str | None = None


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A domain's parts.

    `operations`: a service and what it answers. `health`: parts that can be down, each a check that raises.
    `streams`: schemas whose rows belong to a parent and are watched by it.
    """

    name: str
    entities: tuple[type[Any], ...] = ()
    operations: tuple[tuple[Any, tuple[Any, ...]], ...] = ()
    projections: tuple[Any, ...] = ()
    subscriptions: tuple[Any, ...] = ()
    periodic: tuple[Any, ...] = ()
    schedules: tuple[Any, ...] = ()
    counters: tuple[Any, ...] = ()
    retention: tuple[Retention, ...] = ()
    streams: tuple[Streamed, ...] = ()
    health: dict[str, Callable[[], Awaitable[None]]] = {}

    def bind(self, operations: Operations) -> None:
        """Enter this module's operations into the registry."""
        for service, targets in self.operations:
            operations.bind(service, *targets)
