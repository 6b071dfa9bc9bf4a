"""The ledger as a source: each entry's heads as changes of rows, their bodies unsealed to filter.

A row that no longer matches a filter is told as `leave`, once: the version before is read
to know whether it did. Where that version is not kept any more, `leave` is told to be safe.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

from thane.kernel.answers import encode
from thane.kernel.clock import from_us
from thane.kernel.feed import Entry, Feed, read_entries
from thane.kernel.ledger.leaf import Head, Op
from thane.kernel.live.choice import Choice
from thane.kernel.live.events import Change, Event
from thane.kernel.live.source import Item
from thane.kernel.records.store import Records
from thane.kernel.sealing.errors import Erased, KeyMissing

Told = Literal["create", "update", "delete", "leave"]
_TOLD: dict[Op, Told] = {
    Op.CREATE: "create",
    Op.UPDATE: "update",
    Op.ERASE: "update",
    Op.DELETE: "delete",
}


class LedgerSource:
    """One tenant's entries."""

    def __init__(
        self, records: Records, feed: Feed, tenant_id: str, few: Callable[[], bool] = lambda: True
    ) -> None:
        """`few`: whether so few sources are read that each may look for itself when the bell rings."""
        self._few = few
        self._seen = -1
        self._records = records
        self._feed = feed
        self._tenant_id = tenant_id

    @property
    def key(self) -> Hashable:
        return self._tenant_id

    @property
    def parent(self) -> None:
        return None

    async def end(self) -> int:
        return await self._records.engine.log_size(self._tenant_id)

    async def page(self, position: int, limit: int) -> Sequence[Item]:
        rung, self._seen = self._feed.generation != self._seen, self._feed.generation
        # Else one look for all tenants, which costs more than one read but less than many.
        if not (rung and self._few()) and (await self._feed.sizes()).get(self._tenant_id, 0) <= position:
            return ()
        entries = await read_entries(self._records.engine, self._tenant_id, position, limit)
        return [Item(entry.index, entry) for entry in entries]

    async def settled(self) -> bool:
        return False

    def name(self, position: int) -> str:
        return str(position - 1)

    async def events(self, item: Item, choice: Choice) -> Sequence[Event]:
        entry: Entry = item.value
        made: list[Event] = []
        for n, head in enumerate(entry.heads):
            if head.schema == choice.schema.table:
                event = await self._event(item, entry, n, choice)
                if event is not None:
                    made.append(event)
        return made

    async def _event(self, item: Item, entry: Entry, n: int, choice: Choice) -> Event | None:
        """The event of one head, made once for all equal choices."""
        key = ("event", n, choice.key)
        if key not in item.memo:
            item.memo[key] = await self._made(item, entry, n, choice)
        found: Event | None = item.memo[key]
        return found

    async def _made(self, item: Item, entry: Entry, n: int, choice: Choice) -> Event | None:
        told = await self._told(item, entry, n, choice)
        if told is None:
            return None
        record = None if told in ("delete", "leave") else await self._after(item, entry, n, choice)
        head = entry.heads[n]
        version = (
            None if told == "delete" else getattr(await self._after(item, entry, n, choice), "version", None)
        )
        change = Change(
            index=entry.index,
            entity=head.schema,
            id=head.id,
            operation=told,
            version=version,
            at=from_us(entry.time_us),
            record=None if record is None else choice.show(record),
        )
        return Event(told, f"{entry.index}.{n}", encode(change), n)

    async def _told(self, item: Item, entry: Entry, n: int, choice: Choice) -> Told | None:
        """What this head means under the filter; judged once for all that show other fields only."""
        key = ("told", n, choice.question)
        if key not in item.memo:
            item.memo[key] = await self._judged(item, entry, n, choice)
        found: Told | None = item.memo[key]
        return found

    async def _judged(self, item: Item, entry: Entry, n: int, choice: Choice) -> Told | None:
        head = entry.heads[n]
        told = _TOLD[head.op]
        if choice.predicate is None:
            return told
        if head.after is not None:
            record = await self._after(item, entry, n, choice)
            # A version that an erasure took cannot be judged; that it was there is told.
            if record is None or choice.admits(record):
                return told
        if head.previous is None:
            return None
        before = await self._before(item, entry, n, choice)
        if before is not None and not choice.admits(before):
            return None
        return "delete" if told == "delete" else "leave"

    async def _after(self, item: Item, entry: Entry, n: int, choice: Choice) -> Any | None:
        """The row after the change; None if there is none, or nobody can read it any more."""
        key = ("after", n)
        if key not in item.memo:
            item.memo[key] = await self._opened(entry.heads[n], entry.row.bodies[n], choice)
        return item.memo[key]

    async def _before(self, item: Item, entry: Entry, n: int, choice: Choice) -> Any | None:
        """The row before the change; None if that version is not kept any more."""
        key, head = ("before", n), entry.heads[n]
        if key not in item.memo:
            assert head.previous is not None
            rows = await self._records.engine.entries(self._tenant_id, head.previous, 1)
            found = None
            for row in rows:
                for earlier, body in zip(row.heads, row.bodies, strict=True):
                    if (earlier.schema, earlier.id) == (head.schema, head.id):
                        found = await self._opened(earlier, body, choice)
            item.memo[key] = found
        return item.memo[key]

    async def _opened(self, head: Head, body: bytes, choice: Choice) -> Any | None:
        if not body:
            return None
        try:
            return await self._records.record_of(choice.schema, head.id, body)
        except (KeyMissing, Erased):
            return None
