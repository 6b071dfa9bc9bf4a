"""Rows of one parent as they come: attached to from the start or the middle, until the parent has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.kernel.jobs.world import Note, World, world
from thane.kernel.errors import HistoryExpired, Invalid, NotFound
from thane.kernel.live.choice import Choice
from thane.kernel.live.events import Event, Place, place_in_parent
from thane.kernel.live.hub import Hub, Watch
from thane.kernel.live.parent import ParentSource, Streamed
from thane.kernel.records import Field, Record, Unit, entity, field, key, schema_of


@entity("jobs", "job")
class Job(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = field()
    state: Field[str] = field(default="running")


@entity("lines", "lin", history=False, stream="job_id")
class Line(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = field()
    job_id: Field[str] = field()
    seq: Field[int] = field()
    data: Field[bytes] = field()


STREAMED = Streamed(schema=schema_of(Line), parent=schema_of(Job), settled=Job.state == "done")


class Jobs:
    """A world with one job that prints."""

    def __init__(self, w: World, tenant_id: str, job: Job) -> None:
        self.w = w
        self.tenant_id = tenant_id
        self.job = job
        self.hub = Hub(w.feed)
        self.printed = 0

    def source(self, parent: str | None = None, tenant_id: str | None = None) -> ParentSource:
        return ParentSource(self.w.engine, STREAMED, tenant_id or self.tenant_id, parent or self.job.id)

    def watch(self, after: int = -1, filter: str = "") -> Watch:
        wanted = Choice(schema_of(Line), frozenset(schema_of(Line).names), filter, "seq,data")
        return self.hub.watch(self.source(), wanted, Place(after + 1))

    async def output(self, count: int) -> None:
        first = self.printed
        self.printed += count

        async def write(unit: Unit) -> None:
            unit.create_many(
                Line(id=f"lin_{n}", tenant_id=self.tenant_id, job_id=self.job.id, seq=n, data=b"line %d" % n)
                for n in range(first, first + count)
            )

        await self.w.tools.housekeep(self.tenant_id, write)

    async def settle(self) -> None:
        async def done(unit: Unit) -> Job:
            return await unit.update(await unit.get(Job, self.job.id), state="done")

        await self.w.act(self.tenant_id, "jobs.settle", done)

    async def forget(self, seq: int) -> None:
        async def drop(unit: Unit) -> None:
            await unit.delete(await unit.get(Line, f"lin_{seq}"))

        await self.w.tools.housekeep(self.tenant_id, drop)


@asynccontextmanager
async def jobs(path: Path) -> AsyncIterator[Jobs]:
    async with world(path, Job, Line) as w:
        tenant_id = await w.tenant()

        async def make(unit: Unit) -> Job:
            return unit.create(Job(id=unit.new_id(Job), tenant_id=tenant_id))

        yield Jobs(w, tenant_id, (await w.act(tenant_id, "jobs.create", make)).value)


async def all_of(watch: Watch) -> list[Event]:
    """Everything until its end."""
    found: list[Event] = []
    try:
        async with asyncio.timeout(20):
            while watch.finished is None:
                found += await watch.take()
        assert watch.reason == "settled"
        return found
    finally:
        watch.close()


def body(event: Event) -> Any:
    return msgspec.json.decode(event.data)


async def test_watches_attach_at_any_time_and_see_all_until_the_end(tmp_path: Path) -> None:
    async with jobs(tmp_path) as j:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            early = group.create_task(all_of(j.watch()))
            await j.output(3)
            middle = group.create_task(all_of(j.watch(after=1)))
            filtered = group.create_task(all_of(j.watch(filter="seq >= 4")))
            for _ in range(20):
                await j.output(2)
            await j.settle()
        assert [body(e)["seq"] for e in early.result()] == list(range(43))
        assert [body(e)["seq"] for e in middle.result()] == list(range(2, 43))
        assert [body(e)["seq"] for e in filtered.result()] == list(range(4, 43))
        first = body(early.result()[0])
        assert first == {
            "parent": j.job.id,
            "seq": 0,
            "entity": "lines",
            "id": "lin_0",
            "operation": "create",
            "version": 1,
            "record": {"seq": 0, "data": "bGluZSAw"},
        }
        assert early.result()[7].id == f"{j.job.id}/7"
        late = await all_of(j.watch(after=40))
        assert [body(e)["seq"] for e in late] == [41, 42]
        assert await all_of(j.watch(after=42)) == []
        assert j.hub.readers == 0


async def test_a_thousand_rows_that_are_there_already_are_read_page_by_page(tmp_path: Path) -> None:
    async with jobs(tmp_path) as j:
        await j.output(1000)
        await j.settle()
        assert [body(e)["seq"] for e in await all_of(j.watch())] == list(range(1000))


async def test_a_parent_must_be_there_and_its_rows_kept(tmp_path: Path) -> None:
    async with jobs(tmp_path) as j:
        await j.output(4)
        other = await j.w.tenant()
        await j.source().check(2)
        for source in (j.source("job_none"), j.source("jöb"), j.source(tenant_id=other)):
            with pytest.raises(NotFound):
                await source.check(0)
        await j.forget(0)
        await j.forget(1)
        with pytest.raises(HistoryExpired) as gone:
            await j.source().check(1)
        assert gone.value.extra == {"horizon": 2}
        await j.source().check(2)
        await j.source().check(None)
        await j.source().check(4)
        with pytest.raises(Invalid, match="4 rows so far"):
            await j.source().check(5)
        await j.settle()
        with pytest.raises(HistoryExpired):
            await j.source().check(5)


def test_positions_of_a_parent() -> None:
    assert place_in_parent("exe_1/17", "exe_1") == place_in_parent("17", "exe_1") == Place(18)
    assert place_in_parent("-1", "exe_1") == Place(0)
    for wrong in ("exe_2/17", "exe_1/", "exe_1/x", "", "1.2"):
        with pytest.raises(Invalid):
            place_in_parent(wrong, "exe_1")


def test_what_has_no_seq_is_no_stream() -> None:
    with pytest.raises(TypeError, match="no stream"):
        Streamed(schema=schema_of(Note), parent=schema_of(Job), settled=Job.state == "done")
