"""What comes while an effect is under way: shown at once to whoever listens, kept in small batches.

A batch is at most 64 KB or 50 ms of events and one housekeeping unit. Progress that cannot
be kept is lost and said so in the log: it must not fail the effect that it tells of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from thane.kernel.errors import ThaneError

log = logging.getLogger(__name__)

BATCH_BYTES: Final = 64 * 1024
BATCH_SECONDS: Final = 0.05
# What may wait for the store before `act` is made to wait.
MOST_WAITING: Final = 1 << 20
# What a stream that attaches later is shown again.
BACKLOG_BYTES: Final = 1 << 20

Keep = Callable[[tuple[Any, ...]], Awaitable[None]]
Listener = Callable[[msgspec.Struct], None]


class Feed:
    """Events of one effect for any number of listeners; who comes later gets the last MB first."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._backlog: list[tuple[int, msgspec.Struct]] = []
        self._bytes = 0

    def attach(self, listener: Listener) -> None:
        for _, event in self._backlog:
            listener(event)
        self._listeners.append(listener)

    def detach(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def publish(self, event: msgspec.Struct, size: int) -> None:
        self._backlog.append((size, event))
        self._bytes += size
        while self._bytes > BACKLOG_BYTES and len(self._backlog) > 1:
            self._bytes -= self._backlog.pop(0)[0]
        for listener in tuple(self._listeners):
            listener(event)


class ProgressWriter:
    """The `progress` that `act` is given."""

    def __init__(self, feed: Feed, keep: Keep | None) -> None:
        self._feed = feed
        self._keep = keep
        self._waiting: list[msgspec.Struct] = []
        self._bytes = 0
        self._wake = asyncio.Event()
        self._kept = asyncio.Event()
        self._full = asyncio.Event()
        self._closing = False
        self._task = None if keep is None else asyncio.create_task(self._write(keep))

    async def __call__(self, event: msgspec.Struct, /) -> None:
        size = len(msgspec.json.encode(event))
        self._feed.publish(event, size)
        if self._task is None:
            return
        while self._bytes > MOST_WAITING and not self._closing:
            self._kept.clear()
            await self._kept.wait()
        self._waiting.append(event)
        self._bytes += size
        self._wake.set()
        if self._bytes >= BATCH_BYTES:
            self._full.set()

    async def close(self) -> None:
        """Keep what is left; after this, events are shown but not kept."""
        self._closing = True
        self._wake.set()
        self._full.set()
        self._kept.set()
        if self._task is not None:
            task, self._task = self._task, None
            await task

    async def _moment(self) -> None:
        """Let a batch fill, but hold up neither a full one nor the end."""
        # Not wait_for: on Python 3.11 it can lose a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BATCH_SECONDS):
                await self._full.wait()

    async def _write(self, keep: Keep) -> None:
        while True:
            await self._wake.wait()
            if not self._closing and self._bytes < BATCH_BYTES:
                await self._moment()
            self._wake.clear()
            self._full.clear()
            events, self._waiting, self._bytes = tuple(self._waiting), [], 0
            for batch in _batches(events):
                try:
                    await keep(batch)
                except ThaneError as fault:
                    log.warning("progress was not kept", extra={"events": len(batch), "cause": fault.message})
                except Exception:
                    # A defect in keeping must not cost the effect its outcome.
                    log.exception("progress was not kept", extra={"events": len(batch)})
            self._kept.set()
            if self._closing and not self._waiting:
                return


def _batches(events: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    made: list[tuple[Any, ...]] = []
    here: list[Any] = []
    size = 0
    for event in events:
        here.append(event)
        size += len(msgspec.json.encode(event))
        if size >= BATCH_BYTES:
            made.append(tuple(here))
            here, size = [], 0
    if here:
        made.append(tuple(here))
    return made
