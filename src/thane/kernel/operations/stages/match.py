"""Stage: If-Match. The row that was read must be the row that is changed."""

from __future__ import annotations

from thane.kernel.errors import PreconditionFailed
from thane.kernel.operations.call import Call
from thane.kernel.operations.registry import Bound
from thane.kernel.records.unit import Unit


def takes_if_match(bound: Bound) -> bool:
    """Whether the operation speaks of one existing row: its path's last parameter is that row's id."""
    return (
        bound.entity is not None
        and bound.resource_param is not None
        and not bound.declaration.lists
        and bound.status != 201
    )


async def match(unit: Unit, call: Call) -> None:
    """The row must have the version asked for, and is guarded from here on; PreconditionFailed."""
    wanted, bound = call.if_match, call.operation
    if wanted is None:
        return
    if not takes_if_match(bound) or call.resource is None:
        raise PreconditionFailed(
            f"{bound.name} speaks of no single resource with an ETag",
            hint="Leave If-Match out for this request.",
        )
    current = await unit.get(bound.entity, call.resource)  # type: ignore[arg-type]
    if current.version != wanted:
        raise PreconditionFailed(
            f'{call.resource} has the ETag "{current.version}" now, not "{wanted}"',
            extra={"version": current.version},
        )
