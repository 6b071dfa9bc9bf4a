"""The feed: gapless, in order, woken at once and without a bell too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.kernel.jobs.world import World, world
from thane.kernel.errors import Corrupt
from thane.kernel.feed import Entry, Feed


async def take(feed: Feed, tenant_id: str, start: int, count: int) -> list[Entry]:
    found: list[Entry] = []
    async for entry in feed.watch(tenant_id, start, page=7):
        found.append(entry)
        if len(found) == count:
            break
    return found


async def test_a_watcher_sees_every_entry_once_and_in_order_while_they_are_written(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id, other = await w.tenant(), await w.tenant()
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            watching = group.create_task(take(w.feed, tenant_id, 0, 61))
            for _ in range(6):
                await asyncio.gather(w.notes(tenant_id, 10), w.notes(other, 3))
        found = watching.result()
        assert [e.index for e in found] == list(range(61))
        assert [e.leaf.operation for e in found] == ["tenants.create", *["notes.create"] * 60]
        assert found[5].heads[0].schema == "notes"
        assert found[5].key == f"{tenant_id}/5"


async def test_where_no_bell_rings_the_feed_polls(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        deaf = Feed(w.engine)
        deaf._end()
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            watching = group.create_task(take(deaf, tenant_id, 1, 2))
            await asyncio.sleep(0)
            await w.notes(tenant_id, 2)
        assert [e.index for e in watching.result()] == [1, 2]


async def test_the_bell_wakes_a_watcher_long_before_the_poll(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        feed = Feed(w.engine, poll_seconds=3600)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            watching = group.create_task(take(feed, tenant_id, 1, 2))
            await w.note(tenant_id)
            await w.note(tenant_id)
        assert len(watching.result()) == 2
        feed.close()


async def test_a_gap_is_not_passed_over(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 3)
        delete(w, tenant_id, 2)
        with pytest.raises(Corrupt, match="entry 2"):
            await take(w.feed, tenant_id, 0, 4)


def delete(w: World, tenant_id: str, index: int) -> None:
    connection = w.engine._writer.connection
    connection.execute(
        "DELETE FROM thane_entries WHERE id = (SELECT number << 40 | ? FROM thane_logs WHERE tenant_id = ?)",
        (index, tenant_id),
    )
