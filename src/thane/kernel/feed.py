"""The feed: a tenant's entries from a position on, gapless and in commit order, as they come.

`Feed.watch` is the one way to follow the ledger; jobs use it now, live views later. The
engine's bell only wakes readers; where it does not ring (another process committed) the
feed looks every 50 ms, once for all who wait. Nothing is buffered beyond one page per
watcher: a slow reader costs itself only. It must not decide who may see what.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import cached_property

import msgspec

from thane.kernel.errors import Corrupt
from thane.kernel.ledger.leaf import Head, Leaf, decode_leaf
from thane.kernel.records.engine import Engine, EntryRow

POLL_SECONDS = 0.05
PAGE = 256
# Looking for news that rang no bell may take this part of the time, however many tenants there are.
_SHARE = 0.05


class Entry(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An entry as subscribers see it: what is plain in it, and the stored row for what is sealed."""

    tenant_id: str
    index: int
    leaf: Leaf
    row: EntryRow

    @property
    def heads(self) -> tuple[Head, ...]:
        return self.row.heads

    @property
    def time_us(self) -> int:
        return self.leaf.time

    @cached_property
    def key(self) -> str:
        """Names this entry in the whole store: good as an idempotency key."""
        return f"{self.tenant_id}/{self.index}"


async def read_entries(engine: Engine, tenant_id: str, start: int, limit: int) -> list[Entry]:
    """Entries from `start` on, decoded. Corrupt if one is missing between them or is of another tenant."""
    entries: list[Entry] = []
    for row in await engine.entries(tenant_id, start, limit):
        leaf = decode_leaf(row.leaf)
        expected = start + len(entries)
        if row.index != expected or leaf.seq != expected or leaf.tenant != tenant_id:
            raise Corrupt(f"entry {expected} of {tenant_id} is missing or is another: found {row.index}")
        entries.append(Entry(tenant_id=tenant_id, index=row.index, leaf=leaf, row=row))
    return entries


class Feed:
    """What has grown, for everyone in this process who wants to know. Made and closed in the event loop."""

    def __init__(self, engine: Engine, *, poll_seconds: float = POLL_SECONDS) -> None:
        self.engine = engine
        self.poll_seconds = poll_seconds
        self.generation = 0
        self._waiters: set[asyncio.Event] = set()
        self._end = engine.wake(self.ring)
        self._sizes: dict[str, int] = {}
        self._sizes_of = -1
        self._sizes_at = float("-inf")
        self._sizes_cost = 0.0
        self._looking = asyncio.Lock()

    def close(self) -> None:
        """Hear no more bells, and let all who wait look once more."""
        self._end()
        self.ring()

    def ring(self) -> None:
        """Something may have grown."""
        self.generation += 1
        for event in self._waiters:
            event.set()

    async def changed(self, seen: int) -> None:
        """Return once the bell has rung since generation `seen`, or after a poll's time anyway."""
        if self.generation != seen:
            return
        event = asyncio.Event()
        self._waiters.add(event)
        try:
            # Not `wait_for`: on Python 3.11 it loses a cancellation that comes together with the bell.
            async with asyncio.timeout(self.poll_seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            self._waiters.discard(event)

    async def sizes(self) -> dict[str, int]:
        """How many entries each tenant has; may be a poll old where no bell rang. Do not change it."""
        async with self._looking:
            now = time.monotonic()
            age = now - self._sizes_at
            if self._sizes_of == self.generation and age < max(
                self.poll_seconds * 0.9, self._sizes_cost / _SHARE
            ):
                return self._sizes
            if age < self._sizes_cost:  # bells ring faster than we can look: hear several as one
                await asyncio.sleep(self._sizes_cost - age)
            now, generation = time.monotonic(), self.generation
            found = {tenant: await self.engine.log_size(tenant) for tenant in await self.engine.logs()}
            self._sizes, self._sizes_of, self._sizes_at = found, generation, time.monotonic()
            self._sizes_cost = self._sizes_at - now
            return found

    async def watch(self, tenant_id: str, start: int, *, page: int = PAGE) -> AsyncIterator[Entry]:
        """Entries from index `start` on, for ever; close the iterator to stop.

        Corrupt when the feed has a gap, which a sound store cannot have.
        """
        position = start
        while True:
            generation = self.generation
            if (await self.sizes()).get(tenant_id, 0) <= position:
                await self.changed(generation)
                continue
            for entry in await read_entries(self.engine, tenant_id, position, page):
                position = entry.index + 1
                yield entry
