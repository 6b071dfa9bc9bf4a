"""How many executions run at one time in this process, shared fairly between tenants and projects.

A place that becomes free goes to the tenant that holds the fewest, among equals to the one
served longest ago, and within it to a project by the same rule; within a project first come,
first served. Limits per tenant and project, and one execution at a time in a context, hold for
those who wait: they take no place that they could not use.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import NamedTuple

from thane.kernel.errors import Unavailable

RETRY_SECONDS = 2


class Share(NamedTuple):
    """Whose place it is. `turn` names what only one may hold at a time; empty if nothing."""

    tenant: str = ""
    project: str = ""
    turn: str = ""


class Waiting(NamedTuple):
    name: str
    share: Share
    future: asyncio.Future[None]


class Slots:
    """Places are held by name, so that a repeated `prepare` takes only one. A limit of 0 is none.

    So many may wait; what would come after them is refused before anything of it is begun.
    """

    def __init__(
        self, count: int, most_waiting: int = 1000, *, per_tenant: int = 0, per_project: int = 0
    ) -> None:
        self._free = count
        self._most_waiting = most_waiting
        self._per_tenant = per_tenant or count
        self._per_project = per_project or count
        self._held: dict[str, Share] = {}
        self._holding: Counter[str] = Counter()  # by tenant, by tenant and project, and by turn
        self._served: dict[str, int] = {}
        self._count = 0
        self._waiting: dict[tuple[str, str], deque[Waiting]] = {}
        # Who was told to wait, also before it does.
        self._expected: set[str] = set()

    def take_now(self, name: str, share: Share = Share()) -> bool:
        """A place if one is free for this share; True also for who holds one.

        False lets it wait with `take`; Unavailable if too many wait.
        """
        if name in self._held:
            return True
        # Whoever waits can have none now, or they would have it: so nobody is overtaken.
        if not self._admits(share):
            if name not in self._expected and len(self._expected) >= self._most_waiting:
                raise Unavailable(
                    f"{len(self._expected)} executions wait for a slot already", retry_after=RETRY_SECONDS
                )
            self._expected.add(name)
            return False
        self._note(name, share)
        return True

    async def take(self, name: str, share: Share = Share()) -> None:
        """Wait for a place."""
        if self.take_now(name, share):
            self._expected.discard(name)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(share[:2], deque())
        mine = Waiting(name, share, future)
        queue.append(mine)
        try:
            await future
        except asyncio.CancelledError:
            if name in self._held:  # given and cancelled in one turn
                self.release(name)
            elif mine in queue:
                queue.remove(mine)
                self._tidy(share[:2])
            raise
        finally:
            self._expected.discard(name)

    def release(self, name: str) -> None:
        """Give the place back, and on to whoever is next."""
        self._expected.discard(name)
        share = self._held.pop(name, None)
        if share is None:
            return
        self._free += 1
        for held in _names(share):
            self._holding[held] -= 1
            if not self._holding[held]:
                del self._holding[held]
        while (following := self._next()) is not None:
            if not following.future.done():
                self._note(following.name, following.share)
                following.future.set_result(None)
        if not self._waiting and not self._held:
            self._served.clear()

    def _admits(self, share: Share) -> bool:
        tenant, project, turn = _names(share)
        return (
            self._free > 0
            and self._holding[tenant] < self._per_tenant
            and self._holding[project] < self._per_project
            and not (share.turn and self._holding[turn])
        )

    def _note(self, name: str, share: Share) -> None:
        self._free -= 1
        self._count += 1
        self._held[name] = share
        for held in _names(share):
            self._holding[held] += 1
            self._served[held] = self._count

    def _next(self) -> Waiting | None:
        """Take the one who is next out of the queues; None if nobody can have a place now."""
        heads = {}
        for group, queue in self._waiting.items():
            first = next((w for w in queue if w.future.done() or self._admits(w.share)), None)
            if first is not None:
                heads[group] = first
        if not heads:
            return None
        chosen = min(heads, key=lambda group: self._rank(heads[group].share))
        self._waiting[chosen].remove(heads[chosen])
        self._tidy(chosen)
        return heads[chosen]

    def _rank(self, share: Share) -> tuple[int, int, int, int]:
        tenant, project, _ = _names(share)
        served = self._served
        return (
            self._holding[tenant],
            served.get(tenant, 0),
            self._holding[project],
            served.get(project, 0),
        )

    def _tidy(self, group: tuple[str, str]) -> None:
        if not self._waiting.get(group, True):
            del self._waiting[group]


def _names(share: Share) -> tuple[str, str, str]:
    return f"t {share.tenant}", f"p {share.tenant} {share.project}", f"c {share.turn}"
