"""Progress: shown at once, kept in batches, never the reason for a failure."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.kernel.operations.notes import Broken, Line
from thane.kernel.operations.progress import BACKLOG_BYTES, BATCH_BYTES, MOST_WAITING, Feed, ProgressWriter


class Kept:
    """A store for batches, which may be slow or broken."""

    def __init__(self) -> None:
        self.batches: list[tuple[Any, ...]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken: Exception | None = None

    async def __call__(self, events: tuple[Any, ...]) -> None:
        await self.open.wait()
        if self.broken is not None:
            raise self.broken
        self.batches.append(events)


async def test_small_events_share_a_batch_and_large_ones_do_not() -> None:
    kept = Kept()
    progress = ProgressWriter(Feed(), kept)
    for i in range(50):
        await progress(Line(text=str(i)))
    await progress.close()
    assert [event.text for batch in kept.batches for event in batch] == [str(i) for i in range(50)]
    assert len(kept.batches) == 1
    large = ProgressWriter(Feed(), kept)
    for _ in range(4):
        await large(Line(text="x" * BATCH_BYTES))
    await large.close()
    assert all(len(batch) == 1 for batch in kept.batches[1:])
    assert len(kept.batches) == 5


async def test_a_batch_is_kept_while_the_effect_goes_on() -> None:
    kept = Kept()
    progress = ProgressWriter(Feed(), kept)
    await progress(Line(text="a"))
    for _ in range(400):
        if kept.batches:
            break
        await asyncio.sleep(0.005)
    assert len(kept.batches) == 1
    await progress.close()


async def test_a_slow_store_makes_the_effect_wait() -> None:
    kept = Kept()
    kept.open.clear()
    progress = ProgressWriter(Feed(), kept)

    async def shout() -> None:
        for _ in range(3 * MOST_WAITING // BATCH_BYTES):
            await progress(Line(text="x" * BATCH_BYTES))

    shouting = asyncio.create_task(shout())
    done, _ = await asyncio.wait({shouting}, timeout=0.2)
    assert not done
    kept.open.set()
    await shouting
    await progress.close()
    assert len(kept.batches) == 3 * MOST_WAITING // BATCH_BYTES


async def test_what_cannot_be_kept_is_shown_all_the_same() -> None:
    kept, feed = Kept(), Feed()
    heard: list[Any] = []
    feed.attach(heard.append)
    for fault in (Broken("no"), TypeError("a defect")):
        kept.broken = fault
        progress = ProgressWriter(feed, kept)
        await progress(Line(text="a"))
        await progress.close()
        await progress(Line(text="b"))
    assert [event.text for event in heard] == ["a", "b", "a", "b"]


def test_who_comes_late_is_shown_the_end_and_who_leaves_hears_no_more() -> None:
    feed = Feed()
    for i in range(5):
        feed.publish(Line(text=str(i)), BACKLOG_BYTES // 2)
    heard: list[Any] = []
    feed.attach(heard.append)
    assert [event.text for event in heard] == ["3", "4"]
    feed.detach(heard.append)
    feed.detach(print)
