"""The retention horizon: from which entry on a tenant's history is whole.

A row with history, so that each step of the horizon is an entry of its own and proven like
every change. It never goes back. Who moves it is `retention.apply`; who empties what lies
before it is `maintenance/history.py`.
"""

from __future__ import annotations

from datetime import datetime

from thane.kernel.records.engine import Engine
from thane.kernel.records.entity import Field, Record, entity, field, key, schema_of
from thane.kernel.records.schema import Registry


@entity("retention_horizons", "hor")
class RetentionHorizon(Record):
    """One row a tenant. `horizon` is the index of the first entry whose state can be asked for;
    all entries before it were made before `made_before`."""

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    horizon: Field[int] = field()
    made_before: Field[datetime] = field()
    applied_at: Field[datetime] = field()


def horizon_id(tenant_id: str) -> str:
    """The id of a tenant's one row."""
    return f"hor_{tenant_id.partition('_')[2]}"


async def horizon_of(engine: Engine, registry: Registry, tenant_id: str) -> int:
    """The tenant's horizon; 0 where nothing was ever taken, or the store keeps no horizons."""
    schema = schema_of(RetentionHorizon)
    if registry.find(schema.table) is None:
        return 0
    stored = await engine.fetch(schema, tenant_id, horizon_id(tenant_id))
    return 0 if stored is None else int(stored.record.horizon)
