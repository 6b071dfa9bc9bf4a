"""Delivery: entries from the feed to one consumer, in order per tenant, at least once.

A `Deliverer` keeps one cursor per tenant. For a projection the rows and the cursor move in
one housekeeping unit, whose guard on the cursor makes "at least once" exactly once, also
when two processes deliver at the same time. For a subscription the cursor moves after the
handler has returned. See `declare.py` for what happens when something fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from thane.kernel.clock import to_us
from thane.kernel.errors import ConnectionFailed, TransactionFailed, Unavailable
from thane.kernel.feed import PAGE, Entry, Feed, read_entries
from thane.kernel.jobs.declare import Projection, Subscription, Tools, covers
from thane.kernel.jobs.entities import CursorState, DeadLetter, JobCursor, LetterStatus, derived_id
from thane.kernel.jobs.letters import Letters, letter_id
from thane.kernel.jobs.rows import every
from thane.kernel.records.entity import schema_of
from thane.kernel.records.unit import Unit

log = logging.getLogger(__name__)

# Tenants that one consumer serves at the same time.
TENANTS_AT_ONCE = 8
# How often a consumer looks at its letters: those that are due, and what people decided.
LETTERS_SECONDS = 1.0
# Between two looks at the feed: what a busy store appends meanwhile is delivered together.
GATHER_SECONDS = 0.05
_DROP_AT_ONCE = 500


def cursor_id(consumer: str, tenant_id: str) -> str:
    return derived_id("cur", consumer, tenant_id)


class Moved(Exception):
    """Another process has moved the cursor: what was read is not what comes next."""

    def __init__(self, position: int, state: CursorState) -> None:
        super().__init__(f"the cursor is at {position}, {state.value}")
        self.position = position
        self.state = state


class StoreTrouble(Exception):
    """The store could not take a commit of ours; no entry is to blame."""


class Deliverer:
    """Serves one consumer. `run` until cancelled; `catch_up` for tests, commands and shutdown."""

    def __init__(
        self, consumer: Subscription | Projection, feed: Feed, tools: Tools, *, page: int = PAGE
    ) -> None:
        self.consumer = consumer
        self.name = consumer.consumer
        self._feed = feed
        self._tools = tools
        self._letters = Letters(tools)
        self._page = page
        self._positions: dict[str, int] = {}
        self._dropping: set[str] = set()
        # Tenants whose next entry failed: when to try again (µs); None: it waits for a person.
        self._waiting: dict[str, int | None] = {}
        self._active: dict[str, asyncio.Task[None]] = {}
        self._trouble: BaseException | None = None
        self._slots = asyncio.Semaphore(TENANTS_AT_ONCE)

    # -- the loop ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled. What the store refuses is raised, for the runner to begin again."""
        await self.load()
        look_at = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                generation = self._feed.generation
                if loop.time() >= look_at:
                    await self._look_for_rebuilds()
                    await self._look_at_letters()
                    look_at = loop.time() + LETTERS_SECONDS
                for tenant_id in await self._behind():
                    self._start(tenant_id)
                if self._trouble is not None:
                    raise self._trouble
                await self._feed.changed(generation)
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            await self._end_active()

    async def catch_up(self) -> None:
        """Deliver all there is now, and return; what failed stays behind, as its letter says."""
        await self.load()
        await self._look_at_letters()
        while behind := await self._behind():
            for tenant_id in behind:
                await self._serve(tenant_id)

    async def load(self) -> None:
        """Read the cursors; they may have moved in another process."""
        self._positions, self._dropping, self._trouble = {}, set(), None
        engine = self._tools.records.engine
        async for cursor in every(engine, JobCursor, None, JobCursor.consumer == self.name):
            self._positions[cursor.tenant_id] = cursor.position
            if cursor.state is CursorState.DROPPING:
                self._dropping.add(cursor.tenant_id)

    async def _look_for_rebuilds(self) -> None:
        """A rebuild that another process asked for moves the cursor back under us."""
        mine = (JobCursor.consumer == self.name) & (JobCursor.state == CursorState.DROPPING)
        async for cursor in every(self._tools.records.engine, JobCursor, None, mine):
            self._positions[cursor.tenant_id] = cursor.position
            self._dropping.add(cursor.tenant_id)

    def position(self, tenant_id: str) -> int:
        """The index of the next entry, as far as this process knows."""
        return self._positions.get(tenant_id, 0)

    async def _behind(self) -> list[str]:
        now = self._tools.clock.now_us()
        sizes = await self._feed.sizes()
        found = [t for t, size in sizes.items() if size > self.position(t) or t in self._dropping]
        return [t for t in found if t not in self._active and self._may_try(t, now)]

    def _may_try(self, tenant_id: str, now: int) -> bool:
        if tenant_id not in self._waiting:
            return True
        until = self._waiting[tenant_id]
        return until is not None and until <= now

    def _start(self, tenant_id: str) -> None:
        async def serve() -> None:
            async with self._slots:
                await self._serve(tenant_id)

        def done(task: asyncio.Task[None]) -> None:
            del self._active[tenant_id]
            if not task.cancelled() and (error := task.exception()) is not None:
                self._trouble = error
            self._feed.ring()

        task = asyncio.ensure_future(serve())
        self._active[tenant_id] = task
        task.add_done_callback(done)

    async def _end_active(self) -> None:
        tasks = list(self._active.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one tenant -------------------------------------------------------------------------

    async def _serve(self, tenant_id: str) -> None:
        """Deliver to one tenant until it is up to date or something fails."""
        if tenant_id in self._dropping:
            await self._drop_rows(tenant_id)
        while True:
            position = self.position(tenant_id)
            entries = await read_entries(self._tools.records.engine, tenant_id, position, self._page)
            if not entries:
                return
            try:
                ahead = await self._take(tenant_id, entries)
            except Moved as moved:
                self._positions[tenant_id] = moved.position
                if moved.state is CursorState.DROPPING:
                    self._dropping.add(tenant_id)
                    return
                continue
            if not ahead or len(entries) < self._page:
                return  # what came meanwhile is gathered first

    async def _take(self, tenant_id: str, entries: Sequence[Entry]) -> bool:
        """Deliver these; False if one failed and the tenant has to wait."""
        if tenant_id in self._waiting:  # the first of them has failed before: it is tried alone
            entries = entries[:1]
        if isinstance(self.consumer, Projection):
            return await self._project(self.consumer, tenant_id, entries)
        return await self._notify(self.consumer, tenant_id, entries)

    async def _project(self, projection: Projection, tenant_id: str, entries: Sequence[Entry]) -> bool:
        try:
            await self._apply(projection, tenant_id, entries)
            return True
        except (Moved, StoreTrouble):
            raise
        except Exception as error:  # noqa: BLE001 - kept in the letter, logged, and tried again
            if len(entries) == 1:
                return await self._failed(tenant_id, entries[0].index, error)
        # Which of them it was shows when each is applied by itself.
        for entry in entries:
            if not await self._project(projection, tenant_id, [entry]):
                return False
        return True

    async def _apply(self, projection: Projection, tenant_id: str, entries: Sequence[Entry]) -> None:
        matching = [e for e in entries if covers(projection.operations, e.leaf.operation)]

        async def batch(unit: Unit) -> None:
            await self._move(unit, tenant_id, entries[0].index, entries[-1].index + 1)
            if matching and await self._letter_says(tenant_id, entries[0].index) is not LetterStatus.SKIPPED:
                await projection.apply(unit, matching)

        await self._commit(tenant_id, batch, entries[-1].index + 1)

    async def _notify(self, subscription: Subscription, tenant_id: str, entries: Sequence[Entry]) -> bool:
        done = entries[0].index
        for entry in entries:
            if not covers(subscription.operations, entry.leaf.operation):
                continue
            skipped = await self._letter_says(tenant_id, entry.index) is LetterStatus.SKIPPED
            if not skipped and (error := await self._handled(subscription, entry)) is not None:
                if entry.index > done:
                    await self._advance(tenant_id, done, entry.index)
                goes_on = await self._failed(tenant_id, entry.index, error)
                if not goes_on:
                    return False
                await self._advance(tenant_id, entry.index, entry.index + 1, keep_letter=True)
            else:
                await self._advance(tenant_id, done, entry.index + 1)
            done = entry.index + 1
        if done <= entries[-1].index:
            await self._advance(tenant_id, done, entries[-1].index + 1)
        return True

    async def _handled(self, subscription: Subscription, entry: Entry) -> Exception | None:
        """None if the handler took it, else what it raised."""
        try:
            await subscription.handler(entry, self._tools)
        except (TransactionFailed, ConnectionFailed) as error:
            raise StoreTrouble(str(error)) from error
        except Exception as error:  # noqa: BLE001 - kept in the letter, logged, and tried again
            return error
        return None

    async def _failed(self, tenant_id: str, index: int, error: Exception) -> bool:
        """Write the failure down. True if the consumer passes over what is dead, and this is."""
        letter = await self._letters.failed(self.name, tenant_id, index, error, self.consumer.attempts)
        dead = letter.status is LetterStatus.DEAD
        log.log(
            logging.ERROR if dead else logging.WARNING,
            "an entry could not be delivered",
            extra={
                "consumer": self.name,
                "tenant": tenant_id,
                "index": index,
                "attempts": letter.attempts,
                "cause": letter.error,
            },
        )
        if dead and isinstance(self.consumer, Subscription) and self.consumer.passes_dead:
            return True
        self._waiting[tenant_id] = None if dead else to_us(letter.next_try)
        return False

    # -- cursors ----------------------------------------------------------------------------

    async def _advance(self, tenant_id: str, start: int, stop: int, *, keep_letter: bool = False) -> None:
        async def move(unit: Unit) -> None:
            await self._move(unit, tenant_id, start, stop, keep_letter=keep_letter)

        await self._commit(tenant_id, move, stop)

    async def _move(
        self, unit: Unit, tenant_id: str, start: int, stop: int, *, keep_letter: bool = False
    ) -> None:
        """Queue the cursor's move; Moved if it is not where this process thinks. The guard holds it there."""
        cursor = await unit.find(JobCursor, cursor_id(self.name, tenant_id))
        if cursor is None:
            if start:
                raise Moved(0, CursorState.READY)
            unit.create(self._cursor(tenant_id, stop))
        elif cursor.position != start or cursor.state is not CursorState.READY:
            raise Moved(cursor.position, cursor.state)
        else:
            await unit.update(cursor, position=stop)
        if tenant_id in self._waiting and not keep_letter:
            await self._letters.drop(unit, self.name, tenant_id, start)

    def _cursor(self, tenant_id: str, position: int) -> JobCursor:
        return JobCursor(
            id=cursor_id(self.name, tenant_id), tenant_id=tenant_id, consumer=self.name, position=position
        )

    async def _commit(
        self, tenant_id: str, handler: Callable[[Unit], Awaitable[None]], position: int
    ) -> None:
        try:
            await self._tools.housekeep(tenant_id, handler)
        except (TransactionFailed, ConnectionFailed, Unavailable) as fault:
            raise StoreTrouble(str(fault)) from fault
        self._positions[tenant_id] = position
        self._waiting.pop(tenant_id, None)

    # -- letters ----------------------------------------------------------------------------

    async def _look_at_letters(self) -> None:
        """Who waits for when, what people decided, and what is to be delivered again out of turn."""
        now = self._tools.clock.now_us()
        waiting: dict[str, int | None] = {}
        for letter in await self._letters.of(self.name):
            if letter.entry_index >= self.position(letter.tenant_id):
                dead = letter.status is LetterStatus.DEAD
                waiting[letter.tenant_id] = None if dead else to_us(letter.next_try)
            elif letter.status is not LetterStatus.DEAD and to_us(letter.next_try) <= now:
                await self._out_of_turn(letter)
        for tenant_id in self._active:  # their state is newer than what was read
            waiting.pop(tenant_id, None)
            if tenant_id in self._waiting:
                waiting[tenant_id] = self._waiting[tenant_id]
        self._waiting = waiting

    async def _out_of_turn(self, letter: DeadLetter) -> None:
        """A letter that was passed over and that a person wants tried again (or dropped)."""
        if isinstance(self.consumer, Subscription) and letter.status is LetterStatus.RETRYING:
            engine = self._tools.records.engine
            for entry in await read_entries(engine, letter.tenant_id, letter.entry_index, 1):
                error = await self._handled(self.consumer, entry)
                if error is not None:
                    await self._letters.failed(
                        self.name, letter.tenant_id, letter.entry_index, error, self.consumer.attempts
                    )
                    return

        async def drop(unit: Unit) -> None:
            await self._letters.drop(unit, self.name, letter.tenant_id, letter.entry_index)

        await self._tools.housekeep(letter.tenant_id, drop)

    async def _letter_says(self, tenant_id: str, index: int) -> LetterStatus | None:
        if tenant_id not in self._waiting:
            return None
        schema, id = schema_of(DeadLetter), letter_id(self.name, tenant_id, index)
        found = await self._tools.records.engine.fetch(schema, tenant_id, id)
        return None if found is None else LetterStatus(found.record.status)

    # -- rebuilding -------------------------------------------------------------------------

    async def rebuild(self, tenant_id: str) -> None:
        """Begin again with the first entry: drop the projection's rows of a tenant, reset its cursor.

        Returns once that is written down; the rows go and come back in the background, also
        after a crash. TypeError for a subscription: what its handler did cannot be undone.
        """
        if not isinstance(self.consumer, Projection):
            raise TypeError(f"{self.name} is a subscription; only a projection can be rebuilt")

        async def reset(unit: Unit) -> None:
            cursor = await unit.find(JobCursor, cursor_id(self.name, tenant_id))
            if cursor is None:
                unit.create(self._cursor(tenant_id, 0))
            else:
                await unit.update(cursor, position=0, state=CursorState.DROPPING)

        await self._tools.housekeep(tenant_id, reset)
        self._positions[tenant_id] = 0
        self._dropping.add(tenant_id)
        self._feed.ring()

    async def _drop_rows(self, tenant_id: str) -> None:
        """Delete in batches, then let the cursor start; each step stands by itself after a crash."""
        assert isinstance(self.consumer, Projection)
        for cls in self.consumer.tables:
            while True:

                async def some(unit: Unit, cls: type[Any] = cls) -> int:
                    rows: list[Any] = await unit.list(cls, limit=_DROP_AT_ONCE)
                    for row in rows:
                        await unit.delete(row)
                    return len(rows)

                if await self._tools.housekeep(tenant_id, some) < _DROP_AT_ONCE:
                    break

        async def ready(unit: Unit) -> None:
            cursor = await unit.find(JobCursor, cursor_id(self.name, tenant_id))
            if cursor is not None and cursor.state is CursorState.DROPPING:
                await unit.update(cursor, state=CursorState.READY)

        await self._tools.housekeep(tenant_id, ready)
        self._dropping.discard(tenant_id)
