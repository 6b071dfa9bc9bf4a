"""How many executions run at one time in this process, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque

from thane.kernel.errors import Unavailable

RETRY_SECONDS = 2


class Slots:
    """A fair semaphore whose places are held by name, so that a repeated `prepare` takes only one.

    So many may wait; what would come after them is refused before anything of it is begun.
    """

    def __init__(self, count: int, most_waiting: int = 1000) -> None:
        self._free = count
        self._most_waiting = most_waiting
        self._held: set[str] = set()
        # Who was told to wait, also before it does.
        self._expected: set[str] = set()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    def take_now(self, name: str) -> bool:
        """A place if one is free and nobody waits; True also for who holds one.

        False lets it wait with `take`; Unavailable if too many wait.
        """
        if name in self._held:
            return True
        if self._free == 0 or self._waiting:
            if name not in self._expected and len(self._expected) >= self._most_waiting:
                raise Unavailable(
                    f"{len(self._expected)} executions wait for a slot already", retry_after=RETRY_SECONDS
                )
            self._expected.add(name)
            return False
        self._free -= 1
        self._held.add(name)
        return True

    async def take(self, name: str) -> None:
        """Wait for a place."""
        if self.take_now(name):
            self._expected.discard(name)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((name, future))
        try:
            await future
        except asyncio.CancelledError:
            if name in self._held:  # given and cancelled in one turn
                self.release(name)
            else:
                self._waiting = deque(w for w in self._waiting if w[1] is not future)
            raise
        finally:
            self._expected.discard(name)

    def release(self, name: str) -> None:
        """Give the place to whoever waits longest."""
        self._expected.discard(name)
        if name not in self._held:
            return
        self._held.remove(name)
        while self._waiting:
            following, future = self._waiting.popleft()
            if not future.done():
                self._held.add(following)
                future.set_result(None)
                return
        self._free += 1
