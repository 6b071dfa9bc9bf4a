"""Streams that are open: who asked for them is looked at again and again, and each end is noted.

An operation declared with `streams=` answers with a `Stream`, which the host takes from
for as long as its client listens. A key that is revoked, expires or loses the permission
ends what it opened within `RECHECK_SECONDS` and the time of one look-up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import msgspec

from thane.kernel.errors import Denied, NotFound, ThaneError, Unauthorized, Unavailable
from thane.kernel.live.events import End, Event
from thane.kernel.operations.call import Call
from thane.kernel.operations.stages.authorise import needs_of

log = logging.getLogger(__name__)

RECHECK_SECONDS: Final = 2.0
MOST_OPEN: Final = 10_000
HUNG_UP: Final = "hung_up"
STOPPING: Final = "stopping"


class Stream(Protocol):
    """What a streaming operation answers with (`thane.kernel.live.hub.Watch`)."""

    dropped: asyncio.Future[None]
    # Set by the host: puts events on the wire without waiting, or says that it cannot.
    at_once: Callable[[Sequence[Event]], bool] | None

    @property
    def about(self) -> str:
        """What its access rows name: an entity, or the id of a parent."""

    @property
    def ready(self) -> msgspec.Struct: ...

    @property
    def position(self) -> str: ...

    @property
    def finished(self) -> End | None: ...

    @property
    def reason(self) -> str | None: ...

    async def take(self) -> list[Event]: ...

    def drop(self, reason: str, detail: str) -> None: ...

    def close(self) -> None: ...


class OpenStreams:
    """All open streams of one process."""

    def __init__(
        self,
        again: Callable[[Call], Awaitable[None]],
        over: Callable[[Call, str], None],
        *,
        most: int = MOST_OPEN,
        recheck_seconds: float = RECHECK_SECONDS,
    ) -> None:
        self._again = again
        self._over = over
        self._most = most
        self._recheck_seconds = recheck_seconds
        self._open: dict[Stream, Call] = {}
        self._watchman: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def check_room(self) -> None:
        """Unavailable if as many are open as this process takes."""
        if len(self._open) >= self._most:
            raise Unavailable(f"{self._most} streams are open here already", retry_after=5)

    @asynccontextmanager
    async def hold(self, call: Call, stream: Stream) -> AsyncIterator[Stream]:
        """Hold a stream open for the time of the block."""
        self._open[stream] = call
        if self._watchman is None:
            self._watchman = asyncio.create_task(self._watch())
        try:
            yield stream
        finally:
            del self._open[stream]
            stream.close()
            self._over(call, stream.reason or HUNG_UP)

    def stop(self) -> None:
        """Tell all that the server stops."""
        for stream in tuple(self._open):
            stream.drop(STOPPING, "the server is stopping; resume after the last id you received")

    async def close(self) -> None:
        """End all, and what looks after them."""
        self.stop()
        watchman, self._watchman = self._watchman, None
        if watchman is not None:
            watchman.cancel()
            await asyncio.gather(watchman, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._recheck_seconds)
            if self._open:
                await self.look()

    async def look(self) -> None:
        """Ask once per key and permission whether it still holds, and end what it does not hold for."""
        alike: defaultdict[Hashable, list[Stream]] = defaultdict(list)
        for stream, call in self._open.items():
            if call.identified is None:
                alike[call.bearer, needs_of(call)].append(stream)
        for streams in alike.values():
            one = self._open.get(streams[0])
            if one is None:  # it was closed meanwhile; the others are asked about the next time
                continue
            try:
                await self._again(one)
            except (Unauthorized, Denied, NotFound) as refused:
                for stream in streams:
                    stream.drop(refused.code, refused.message)
            except ThaneError as fault:
                log.warning("a stream's key could not be looked up", extra={"cause": fault.message})
