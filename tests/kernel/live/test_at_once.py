"""Events that are put on the wire at once, without the watch's task: in order, in turns, nothing lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.kernel.jobs.world import until
from tests.kernel.live.test_hub import expected, living, write
from thane.kernel.live.events import Event
from thane.kernel.live.hub import Turn, Watch


class Wire:
    """What a watch has put on the wire at once, and what its task has taken; in the order of both."""

    def __init__(self, watch: Watch, chance: random.Random | None = None) -> None:
        self.watch = watch
        self.seen: list[Event] = []
        self.at_once = 0
        self.chance = chance
        watch.at_once = self._write
        self.task = asyncio.create_task(self._take())

    def _write(self, events: Sequence[Event]) -> bool:
        if self.chance is not None and self.chance.random() < 0.3:
            return False  # its buffer is full
        self.seen += events
        self.at_once += len(events)
        return True

    async def _take(self) -> None:
        while self.watch.finished is None:
            taken = await self.watch.take()
            if self.chance is not None and self.chance.random() < 0.5:
                await asyncio.sleep(0)  # as a host waits before it has written what it took
            self.seen += taken


async def test_who_waits_is_given_events_at_once_and_in_order(tmp_path: Path) -> None:
    async with living(tmp_path) as live, AsyncExitStack() as stack:
        wires = []
        for n in range(12):
            watch = await stack.enter_async_context(live.watch("-1"))
            wires.append(Wire(watch, random.Random(n) if n else None))
        await write(live, 5, 200)
        wanted = await expected(live)
        await until(lambda: all(len(w.seen) >= len(wanted) for w in wires))
        for wire in wires:
            assert [e.id for e in wire.seen] == wanted
            wire.task.cancel()
        assert wires[0].at_once > 0
        await asyncio.gather(*(w.task for w in wires), return_exceptions=True)


async def test_a_crowd_is_served_in_turns_and_who_comes_between_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop is given back after every watch, and in each of these pauses another one comes."""
    monkeypatch.setattr(Turn, "is_over", True)
    async with living(tmp_path) as live, AsyncExitStack() as stack:
        first = [Wire(await stack.enter_async_context(live.watch("-1"))) for _ in range(20)]
        await until(lambda: all(w.watch.is_live for w in first))
        writing = asyncio.create_task(write(live, 9, 60))
        later: list[tuple[str, Wire]] = []
        while not writing.done():
            one = first[len(later) % 20].watch
            # A position that is told may be resumed from: all before it must have been given.
            place = one.position
            later.append((place, Wire(await stack.enter_async_context(live.watch(place)))))
            await asyncio.sleep(0.001)
        wanted = await expected(live)
        await until(lambda: all(len(w.seen) >= len(wanted) for w in first))
        assert all([e.id for e in w.seen] == wanted for w in first)
        for place, wire in later:
            rest = [e for e in wanted if int(e.partition(".")[0]) > int(place.partition(".")[0])]
            await until(lambda wire=wire, rest=rest: len(wire.seen) >= len(rest))  # type: ignore[misc]
            assert [e.id for e in wire.seen] == rest
        for wire in [*first, *(w for _, w in later)]:
            wire.task.cancel()
        await asyncio.gather(*(w.task for w in first), return_exceptions=True)
        await asyncio.gather(*(w.task for _, w in later), return_exceptions=True)


async def test_a_position_is_not_told_before_its_events_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turn, "is_over", True)
    async with living(tmp_path) as live, AsyncExitStack() as stack:
        wires = [Wire(await stack.enter_async_context(live.watch("-1"))) for _ in range(30)]
        await until(lambda: all(w.watch.is_live for w in wires))
        before = {id(w): len(w.seen) for w in wires}
        reader = wires[0].watch._reader
        assert reader is not None
        await live.w.note(live.tenant_id, "in")
        index = int((await expected(live))[-1].partition(".")[0])
        while any(len(w.seen) == before[id(w)] for w in wires):
            for wire in wires:
                if len(wire.seen) == before[id(wire)]:
                    assert int(wire.watch.position) < index
            await asyncio.sleep(0)
        for wire in wires:
            wire.task.cancel()
        await asyncio.gather(*(w.task for w in wires), return_exceptions=True)
