"""Rules of watching: what can be watched, with which permission, and from where on.

An entity is watched with the permission of the operation that lists it, and shows the
fields that its list shows. What cannot be listed cannot be watched.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from thane.kernel.context import Context
from thane.kernel.errors import Fault, HistoryExpired, Invalid
from thane.kernel.live.choice import Choice
from thane.kernel.live.events import Place, place_in_ledger, place_in_parent
from thane.kernel.live.hub import Hub, Watch
from thane.kernel.live.ledger import LedgerSource
from thane.kernel.live.parent import ParentSource, Streamed
from thane.kernel.module import Module
from thane.kernel.operations.registry import Bound
from thane.kernel.records import Records, Schema, schema_of
from thane.kernel.records.horizon import horizon_of

# Readers that each look at their own ledger when anything was committed.
LOOK_FOR_THEMSELVES: Final = 16


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """An entity that can be watched. `streamed` if its rows belong to a parent."""

    schema: Schema
    needs: str
    visible: frozenset[str]
    streamed: Streamed | None = None


class LiveService:
    """Opens watches."""

    def __init__(
        self,
        records: Records,
        hub: Hub,
        operations: Callable[[], Iterable[Bound]],
        modules: Callable[[], Iterable[Module]],
    ) -> None:
        """`operations` and `modules` are asked at the first watch, when all of the program is wired."""
        self.hub = hub
        self._records = records
        self._operations = operations
        self._modules = modules
        self._known: dict[str, Watched] = {}

    def find(self, entity: str) -> Watched:
        """What is known of an entity by its name. Invalid for one that cannot be watched."""
        if not self._known:
            self._known = {w.schema.table: w for w in self._all()}
        found = self._known.get(entity)
        if found is None:
            detail = f"{entity[:64]!r} cannot be watched; there are {', '.join(sorted(self._known))}"
            raise Invalid(detail, faults=(Fault("/entity", "unknown", detail),))
        return found

    async def open(
        self, context: Context, entity: str, filter: str, fields: str, parent: str | None, after: str | None
    ) -> Watch:
        """A watch of the tenant's rows. Invalid, NotFound for the parent, HistoryExpired for the position."""
        watched = self.find(entity)
        choice = Choice(watched.schema, watched.visible, filter, fields)
        if watched.streamed is not None:
            return await self._of_parent(context, watched.streamed, choice, parent, after)
        if parent is not None:
            raise _refused("/parent", f"{entity} are not rows of a parent: leave `parent` out")
        source = LedgerSource(
            self._records, self.hub.feed, context.tenant_id, lambda: self.hub.readers <= LOOK_FOR_THEMSELVES
        )
        end = await source.end()
        if after is None:
            return self.hub.watch(source, choice, Place(end))
        place = place_in_ledger(after)
        horizon = await horizon_of(self._records.engine, self._records.registry, context.tenant_id)
        if place.position < horizon:
            raise HistoryExpired(
                f"{after} is before the retention horizon, entry {horizon}",
                hint="List the entity anew, then watch without a position.",
                extra={"horizon": horizon},
            )
        if place.position > end or (place.position == end and place.skip):
            raise _refused("/after", f"the ledger has {end} entries; {after} lies beyond them")
        return self.hub.watch(source, choice, place)

    async def _of_parent(
        self, context: Context, streamed: Streamed, choice: Choice, parent: str | None, after: str | None
    ) -> Watch:
        if parent is None:
            noun = streamed.parent.table
            raise _refused(
                "/parent", f"{streamed.schema.table} are watched by their parent: give one of {noun}"
            )
        source = ParentSource(self._records.engine, streamed, context.tenant_id, parent)
        place = Place(0) if after is None else place_in_parent(after, parent)
        await source.check(None if after is None else place.position)
        return self.hub.watch(source, choice, place)

    def _all(self) -> Iterable[Watched]:
        streams = {s.schema.table: s for m in self._modules() for s in m.streams}
        for bound in self._operations():
            if not bound.declaration.lists or bound.entity is None:
                continue
            schema = schema_of(bound.entity)
            if schema.scoped and (schema.history or schema.table in streams):
                yield Watched(
                    schema=schema,
                    needs=bound.needs,
                    visible=_shown(bound),
                    streamed=streams.get(schema.table),
                )


def _shown(bound: Bound) -> frozenset[str]:
    """The fields that a list shows of its rows."""
    for item in typing.get_args(bound.response_type):
        if isinstance(item, type) and issubclass(item, msgspec.Struct):
            return frozenset(item.__struct_fields__)
    return frozenset()


def _refused(pointer: str, detail: str) -> Invalid:
    return Invalid(detail, faults=(Fault(pointer, "position" if pointer == "/after" else "value", detail),))
