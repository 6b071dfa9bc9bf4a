"""Who runs next: numbered slots, shared fairly between those who wait for one.

A slot that becomes free goes to the share that holds the fewest, and among equals to
the one that was served longest ago; within a share, first come, first served. So a
share with a thousand jobs waiting delays another's by one job's length at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque


class Slots:
    def __init__(self, count: int) -> None:
        self._free = list(range(count))[::-1]
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[int]]] = {}
        self._served: dict[str, int] = {}  # when each share was served last, of those that hold or wait
        self._count = 0

    async def take(self, share: str = "") -> int:
        """A slot, until it is given back with the same share."""
        if self._free and not self._waiting:
            self._note(share)
            return self._free.pop()
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(share, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(turn.result(), share)
            else:
                self._leave(share, turn)
            raise

    def _note(self, share: str) -> None:
        self._count += 1
        self._held[share] += 1
        self._served[share] = self._count

    def _leave(self, share: str, turn: asyncio.Future[int]) -> None:
        waiting = self._waiting.get(share, deque())
        if turn in waiting:
            waiting.remove(turn)
        if not waiting:
            self._waiting.pop(share, None)
        self._forget(share)

    def _forget(self, share: str) -> None:
        if not self._held[share] and share not in self._waiting:
            del self._held[share]
            self._served.pop(share, None)

    def give(self, slot: int, share: str = "") -> None:
        self._held[share] -= 1
        while self._waiting:
            chosen = min(self._waiting, key=lambda name: (self._held[name], self._served.get(name, 0)))
            turn = self._waiting[chosen].popleft()
            if not self._waiting[chosen]:
                del self._waiting[chosen]
            if not turn.done():
                self._note(chosen)
                turn.set_result(slot)
                break
        else:
            self._free.append(slot)
        self._forget(share)
