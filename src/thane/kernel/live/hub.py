"""The hub: each source is read once and its events handed to every watch that wants them.

A watch that begins further back reads for itself, page by page, at its client's pace, and
joins the shared reader where that stands. From then on a client that waits is given its
events at once, without waking its task; for one that does not take them they wait in a
queue with a bound, and who lets it fill up is dropped and told so. Nobody waits for a
watch: neither the reader, nor other watches, nor any writer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from thane.kernel.errors import ThaneError
from thane.kernel.feed import PAGE, Feed
from thane.kernel.live.choice import Choice
from thane.kernel.live.events import End, Event, Place, Ready
from thane.kernel.live.source import Item, Source

log = logging.getLogger(__name__)

# What may wait for one watch before it is too slow. What waits is shared by all who wait for it.
MOST_EVENTS: Final = 4096
MOST_BYTES: Final = 8 << 20
# How long `take` waits for something to send: a little longer than a host may be silent.
PATIENCE_SECONDS: Final = 15.5
# How many watches may read for themselves at the same time.
CATCHING_UP: Final = 8
TURN_SECONDS: Final = 0.004


class Hub:
    """All watches of one process. Used in the event loop only."""

    def __init__(
        self,
        feed: Feed,
        *,
        most_events: int = MOST_EVENTS,
        most_bytes: int = MOST_BYTES,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.feed = feed
        self.most_events = most_events
        self.most_bytes = most_bytes
        self.patience_seconds = patience_seconds
        self.catching_up = asyncio.Semaphore(CATCHING_UP)
        self._readers: dict[Hashable, Reader] = {}

    def watch(self, source: Source, choice: Choice, place: Place) -> Watch:
        """A watch from a place on. Nothing is read, and nothing held, before it is taken from."""
        return Watch(self, source, choice, place)

    @property
    def readers(self) -> int:
        """How many sources are read now."""
        return len(self._readers)

    async def enter(self, watch: Watch) -> Reader:
        """The reader of the watch's source, started by its first watch."""
        key = watch.source.key
        reader = self._readers.get(key)
        if reader is None:
            end = await watch.source.end()
            reader = self._readers.get(key)
            if reader is None:
                reader = self._readers[key] = Reader(self.feed, watch.source, end, self.most_events // 8)
        reader.enter(watch)
        return reader

    def leave(self, watch: Watch, reader: Reader) -> None:
        """The last watch of a source takes its reader along."""
        reader.leave(watch)
        if reader.is_idle and self._readers.get(watch.source.key) is reader:
            del self._readers[watch.source.key]
            reader.stop()


class Turn:
    """How long one task has kept the loop: unsealing a page at a stretch would hold up every request."""

    def __init__(self) -> None:
        self._until = time.monotonic() + TURN_SECONDS

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._until

    async def end(self) -> None:
        """Let the others have theirs."""
        await asyncio.sleep(0)
        self._until = time.monotonic() + TURN_SECONDS


class Reader:
    """Reads one source and hands out its events.

    `position` is that of the next item it will hand out, where a watch may join; all items
    before `handed` have reached every watch that wanted them.
    """

    def __init__(self, feed: Feed, source: Source, position: int, breath: int) -> None:
        """`breath`: after handing out so many events it lets those who were given them send."""
        self.position = self.handed = position
        self._breath = breath
        self._given = 0
        self._turn = Turn()
        self.over: End | None = None
        self._feed = feed
        self._source = source
        self._all: set[Watch] = set()
        self._live: dict[Hashable, set[Watch]] = {}
        self._choices: dict[Hashable, Choice] = {}
        self._task = asyncio.create_task(self._run())

    @property
    def is_idle(self) -> bool:
        return not self._all

    def enter(self, watch: Watch) -> None:
        self._all.add(watch)

    def join(self, watch: Watch) -> None:
        """From now on the watch is handed what it wants. Call it when it is not behind `position`."""
        key = watch.choice.key
        self._choices.setdefault(key, watch.choice)
        self._live.setdefault(key, set()).add(watch)
        if self.over is not None:
            watch.end(self.over)

    def leave(self, watch: Watch) -> None:
        self._all.discard(watch)
        key = watch.choice.key
        mine = self._live.get(key)
        if mine is not None:
            mine.discard(watch)
            if not mine:
                del self._live[key], self._choices[key]

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        try:
            end = await self._read()
        except ThaneError as fault:
            log.exception("a source of live events cannot be read")
            end = End(reason="failed", detail=fault.message)
        except Exception:
            log.exception("a source of live events cannot be read")
            end = End(reason="failed", detail="something went wrong in Thane; its log says what")
        self.over = end
        for watch in tuple(self._all):
            if end.reason == "failed" or watch.is_live:
                watch.end(end)

    async def _read(self) -> End:
        while True:
            generation = self._feed.generation
            items = await self._source.page(self.position, PAGE)
            if not items and await self._source.settled():
                # It was settled before this look: what is there now has been all.
                items = await self._source.page(self.position, PAGE)
                if not items:
                    return End(reason="settled", detail="nothing will be added any more, and all was sent")
            self._turn = Turn()
            for item in items:
                await self._hand_out(item)
            if not items:
                await self._feed.changed(generation)

    async def _hand_out(self, item: Item) -> None:
        made: dict[Hashable, Sequence[Event]] = {}
        # Whoever joins meanwhile wants this item too.
        while lacking := [key for key in self._choices if key not in made]:
            for key in lacking:
                choice = self._choices.get(key)
                if choice is not None:  # else its last watch has left meanwhile
                    made[key] = await self._source.events(item, choice)
        # Whoever comes while it is handed out is behind it, and reads it for itself.
        wanted = [(w, events) for key, events in made.items() if events for w in self._live.get(key, ())]
        self.position = item.position + 1
        for watch, events in wanted:
            watch.put(item.position, events)
            self._given += len(events)
            if self._given > self._breath or self._turn.is_over:
                self._given = 0
                await self._turn.end()
        self.handed = self.position
        if self._turn.is_over:
            await self._turn.end()


class Watch:
    """What one client watches. `take` until `finished`, then `close`."""

    def __init__(self, hub: Hub, source: Source, choice: Choice, place: Place) -> None:
        self.source = source
        self.choice = choice
        self.is_live = False
        # Done when what is left need not be waited for: the client is too slow, or may not see it.
        self.dropped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hub = hub
        self._reader: Reader | None = None
        self._place = place
        self._queue: deque[Event] = deque()
        self._bytes = 0
        self._bell = asyncio.Event()
        self._end: End | None = None
        # Puts events on the wire now, or says that it cannot; set by the host.
        self.at_once: Callable[[Sequence[Event]], bool] | None = None
        self._waiting = False

    # -- for the host -----------------------------------------------------------------------

    @property
    def about(self) -> str:
        """What is watched: a parent's id, or the entity."""
        return self.source.parent or self.choice.schema.table

    @property
    def ready(self) -> Ready:
        """What the client is told first."""
        return Ready(entity=self.choice.schema.table, position=self.position)

    @property
    def position(self) -> str:
        """The id to resume after, once all that was taken has arrived and nothing waits."""
        position, skip = self._place
        if self.is_live and self._reader is not None and not self._queue:
            position = max(position, self._reader.handed)  # past what the filter kept back
        return self.source.name(position) if not skip else f"{position}.{skip - 1}"

    @property
    def finished(self) -> End | None:
        """Why it is over, once everything was taken that had to be."""
        return None if self._queue else self._end

    @property
    def reason(self) -> str | None:
        """Why it was ended from this side; None if it was not."""
        return None if self._end is None else self._end.reason

    async def take(self) -> list[Event]:
        """What is next to be sent; nothing if there is nothing for a while, or no more."""
        if self._end is None and not self.is_live:
            events = await self._catch_up()
            if events or not self.is_live:
                return events
        if not self._queue and self._end is None:
            self._bell.clear()
            self._waiting = True
            try:
                async with asyncio.timeout(self._hub.patience_seconds):
                    await self._bell.wait()
            except TimeoutError:
                pass
            finally:
                self._waiting = False
        taken = list(self._queue)
        self._queue.clear()
        self._bytes = 0
        return taken

    def drop(self, reason: str, detail: str) -> None:
        """End it now; what waits is not sent."""
        if self._end is None or not self.dropped.done():
            self._end = End(reason=reason, detail=detail)
        self._queue.clear()
        self._bytes = 0
        self._bell.set()
        if not self.dropped.done():
            self.dropped.set_result(None)

    def close(self) -> None:
        """Let go of everything."""
        reader, self._reader, self.at_once = self._reader, None, None
        if reader is not None:
            self._hub.leave(self, reader)
        if not self.dropped.done():
            self.dropped.cancel()

    # -- for the reader -----------------------------------------------------------------------

    def put(self, position: int, events: Sequence[Event]) -> None:
        """Hand over the events of one item. Never waits: a full queue ends the watch."""
        if self._end is not None or position < self._place.position:
            return
        if len(self._queue) >= self._hub.most_events or self._bytes >= self._hub.most_bytes:
            self.drop("slow", f"{len(self._queue)} events waited for you to read them")
            return
        if self._waiting and not self._queue and self.at_once is not None and self.at_once(events):
            self._place = Place(position + 1)
            return
        self._queue.extend(events)
        self._bytes += sum(len(event.data) for event in events)
        self._place = Place(position + 1)
        self._bell.set()

    def end(self, end: End) -> None:
        """End it after what waits was sent."""
        if self._end is None:
            self._end = end
            self._bell.set()

    # -- inner --------------------------------------------------------------------------------

    async def _catch_up(self) -> list[Event]:
        """The events of one page that the shared reader has passed; joins it when there is none."""
        if self._reader is None:
            self._reader = await self._hub.enter(self)
        reader = self._reader
        if self._place.position >= reader.position and not self._place.skip:
            self.is_live = True
            reader.join(self)
            return []
        generation = self._hub.feed.generation
        async with self._hub.catching_up:
            items = await self.source.page(self._place.position, PAGE)
            made: list[Event] = []
            turn = Turn()
            for item in items:
                if turn.is_over:
                    await turn.end()
                skip = self._place.skip if item.position == self._place.position else 0
                made += [e for e in await self.source.events(item, self.choice) if e.n >= skip]
                self._place = Place(item.position + 1)
        if not items and reader.over is not None:
            self._place = Place(max(self._place.position, reader.position))
        elif not items:  # it will be there at the next look
            await self._hub.feed.changed(generation)
        return made
