"""What can be asked of live."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from thane.domains.live.service import LiveService
from thane.kernel.live.events import Change, End, Ready, Row
from thane.kernel.live.hub import Watch
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.records import Unit


class WatchEntity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to watch, and from where on."""

    entity: Annotated[str, Meta(description="Whose rows: `sandboxes`, `executions`, `execution_chunks`, …")]
    filter: Annotated[str, Meta(description="Only rows that match, as in lists.")] = ""
    fields: Annotated[str, Meta(description="Show only these fields of `record`, separated by commas.")] = ""
    parent: Annotated[str, Meta(description="Whose output or samples: the id of an execution.")] | None = None
    after: (
        Annotated[
            str,
            Meta(description="Go on after this id. Without it: from now on; of a parent, from its start."),
        ]
        | None
    ) = None


def _needs(live: LiveService, request: WatchEntity) -> str:
    return live.find(request.entity).needs


@operation(
    "events.watch",
    http="GET /watch",
    needs="*.list",
    needs_of=_needs,
    effect=Effect.NONE,
    streams=(Ready, Change, Row, End),
    example=Example({"entity": "execution_chunks", "parent": "$sandboxes.execute/id"}),
    tags=("live",),
)
async def watch(live: LiveService, unit: Unit, request: WatchEntity) -> Watch:
    """Watch rows change as it happens, as server-sent events or over a WebSocket.

    It needs the permission to list the entity. Every event has an id; send the last one
    as `Last-Event-ID` (or `after`) and nothing is lost or repeated. A row that no longer
    matches the filter is a `leave`. Output and samples of one execution are watched by
    their `parent` and end when it has ended. docs/live.md tells all of it.
    """
    return await live.open(
        unit.context, request.entity, request.filter, request.fields, request.parent, request.after
    )


ALL = (watch,)
