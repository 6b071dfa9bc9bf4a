"""Who is let in: so many requests are worked on, so many wait, and what they bring has a bound.

Beyond that the answer is 503 with Retry-After, at once: a queue that grows without end
answers nobody in time and takes the memory of all. Executions and streams do not stay
here; they have bounds of their own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from thane.kernel.errors import Unavailable

RETRY_SECONDS: Final = 1.0


class Admission:
    """One per process, used in its event loop. `not_taken`: bytes of answers that clients have not taken."""

    def __init__(self, *, at_work: int = 256, waiting: int = 4096, buffered_bytes: int = 64 << 20) -> None:
        self._free = at_work
        self._most_waiting = waiting
        self._most_bytes = buffered_bytes
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held = 0
        self.not_taken = 0

    def hold(self, size: int) -> None:
        """So many bytes of a body more; Unavailable, and nothing is held, if that is too much in all."""
        if self._held + self.not_taken + size > self._most_bytes:
            raise Unavailable("too much is being sent and taken here", retry_after=RETRY_SECONDS)
        self._held += size

    def let_go(self, size: int) -> None:
        """The bytes that `hold` counted are no more."""
        self._held -= size

    def check(self) -> None:
        """Before anything is read: Unavailable if nobody could wait any more."""
        if len(self._waiting) >= self._most_waiting or self.not_taken > self._most_bytes:
            raise Unavailable("more is asked than can be answered", retry_after=RETRY_SECONDS)

    async def enter(self) -> None:
        """A place, in the order of asking. `leave` gives it back. Unavailable if too many wait."""
        if self._free:
            self._free -= 1
            return
        self.check()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # given and cancelled in one turn
            else:
                self._waiting.remove(place)
            raise

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
