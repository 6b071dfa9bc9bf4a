"""What can be asked of system; only by Thane itself."""

from __future__ import annotations

from datetime import datetime

import msgspec

from thane.domains.system.service import SystemService
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.records import Unit
from thane.kernel.records.horizon import RetentionHorizon


class ApplyRetention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`horizon`: index of the first entry that is kept whole; all before it are older than `made_before`."""

    horizon: int
    made_before: datetime


@operation(
    "retention.apply",
    http=None,
    needs="retention.apply",
    effect=Effect.RECORDS,
    entity=RetentionHorizon,
    example=Example({"horizon": 0, "made_before": "1970-01-01T00:00:00Z"}),
)
async def apply_retention(system: SystemService, unit: Unit, request: ApplyRetention) -> RetentionHorizon:
    """Move the tenant's retention horizon. Only Thane itself asks for it.

    Superseded versions and sealed details before the horizon are emptied after this entry
    stands; the ledger's leaves, heads and proofs stay.
    """
    return await system.move_horizon(unit, request.horizon, request.made_before)


ALL = (apply_retention,)
