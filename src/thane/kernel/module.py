"""What a domain hands to the rest: one value, made in its `module.py`, read by bootstrap.

Nothing here runs. Bootstrap loops over modules and gives each part to who wants it: the
schemas to the store, the operations to the registry, the jobs to the runner.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from thane.kernel.operations.registry import Operations
from thane.kernel.records.schema import Schema


class Retention(msgspec.Struct, frozen=True):
    """Rows of a schema without history that are deleted once `field` is older than the setting says."""

    schema: Schema
    field: str
    setting: str


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A domain's parts. `operations`: a service and what it answers. `health`: parts that can be down, each a check that raises."""

    name: str
    entities: tuple[type[Any], ...] = ()
    operations: tuple[tuple[Any, tuple[Any, ...]], ...] = ()
    projections: tuple[Any, ...] = ()
    subscriptions: tuple[Any, ...] = ()
    periodic: tuple[Any, ...] = ()
    schedules: tuple[Any, ...] = ()
    counters: tuple[Any, ...] = ()
    retention: tuple[Retention, ...] = ()
    health: dict[str, Callable[[], Awaitable[None]]] = {}

    def bind(self, operations: Operations) -> None:
        """Enter this module's operations into the registry."""
        for service, targets in self.operations:
            operations.bind(service, *targets)
