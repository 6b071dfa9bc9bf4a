"""Bring a store's schema to what this program declares.

A numbered list of steps makes the schema; the store remembers its digest. A store with
this program's digest is left alone, an empty one is filled, any other is refused with
what to do, because a program must not guess at a schema it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence

from thane.kernel.errors import MigrationFailed
from thane.kernel.records.engine import Engine
from thane.kernel.records.schema import Registry
from thane.kernel.records.steps import Step, difference, digest


def first(registry: Registry) -> Sequence[Step]:
    """Migration 1: every table and index, in the order of their references."""
    return difference((), registry.all())


async def migrate(engine: Engine, registry: Registry, *, auto: bool) -> bool:
    """Apply what is missing; whether anything was. MigrationFailed if that is not allowed or not possible."""
    wanted = digest(registry.all())
    found = await engine.schema_digest()
    if found == wanted:
        return False
    if found is not None:
        raise MigrationFailed(
            f"the store's schema ({found[:12]}) is not this program's ({wanted[:12]})",
            hint="Use the version of Thane that made this store, or another folder; nothing was touched.",
        )
    if not auto:
        raise MigrationFailed(
            "the store is empty and `database.auto_migrate` is false",
            hint="Set database.auto_migrate = true for the first start.",
        )
    await engine.apply_steps(first(registry), wanted)
    return True
