"""Delivery: in order per tenant, at least once, exactly once for projections; and failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tests.kernel.jobs.world import Note, Shown, World, until, world
from thane.kernel.errors import IllegalState, NotFound, StorageFull
from thane.kernel.feed import Entry
from thane.kernel.jobs import JobCursor, JobRunner, Letters, Projection, Subscription, Tools
from thane.kernel.jobs.cursors import Deliverer, StoreTrouble, cursor_id
from thane.kernel.jobs.declare import covers
from thane.kernel.jobs.entities import CursorState, LetterStatus, entry_row_id
from thane.kernel.records import Unit, schema_of


async def show(unit: Unit, entries: Sequence[Entry]) -> None:
    for entry in entries:
        unit.create(
            Shown(
                id=entry_row_id("shn", entry.tenant_id, entry.index, 0, entry.time_us),
                tenant_id=entry.tenant_id,
                entry_index=entry.index,
                operation=entry.leaf.operation,
            )
        )


SHOWN = Projection(consumer="shown", tables=(Shown,), apply=show)


class Ear:
    """A subscriber that remembers, and fails when it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.deaf_to: set[int] = set()

    async def __call__(self, entry: Entry, tools: Tools) -> None:
        if entry.index in self.deaf_to:
            raise RuntimeError("no line")
        self.heard.append((entry.tenant_id, entry.index))

    def of(self, tenant_id: str) -> list[int]:
        return [index for tenant, index in self.heard if tenant == tenant_id]


async def shown(w: World, tenant_id: str) -> list[Shown]:
    return sorted(await w.rows(Shown, tenant_id), key=lambda row: row.entry_index)


async def position(w: World, consumer: str, tenant_id: str) -> int:
    stored = await w.engine.fetch(schema_of(JobCursor), tenant_id, cursor_id(consumer, tenant_id))
    return 0 if stored is None else int(stored.record.position)


def test_a_pattern_names_one_operation_one_entity_or_all() -> None:
    assert covers(("notes.create",), "notes.create")
    assert not covers(("notes.create",), "notes.update")
    assert covers(("runs.*", "notes.*"), "notes.update")
    assert not covers(("note.*",), "notes.update")
    assert covers(("*",), "anything.at_all")


async def test_each_tenant_is_delivered_in_order_and_the_cursors_say_how_far(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ear = Ear()
        first, second = await w.tenant(), await w.tenant()
        deliverer = Deliverer(Subscription(consumer="ear", handler=ear), w.feed, w.tools, page=4)
        running = asyncio.create_task(deliverer.run())
        await asyncio.gather(w.notes(first, 20), w.notes(second, 10))
        await until(lambda: len(ear.heard) == 32)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert ear.of(first) == list(range(21))
        assert ear.of(second) == list(range(11))
        await deliverer.load()
        assert deliverer.position(first) in (20, 21)  # cancelled between handler and cursor, or after it


async def test_only_matching_operations_are_delivered_and_the_cursor_passes_the_others(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        ear = Ear()
        tenant_id = await w.tenant()
        note = await w.note(tenant_id)
        await w.retitle(note, "b")
        await w.note(tenant_id)
        only = Subscription(consumer="ear", handler=ear, operations=("notes.update",))
        await Deliverer(only, w.feed, w.tools).catch_up()
        assert ear.of(tenant_id) == [2]
        assert await position(w, "ear", tenant_id) == 4


async def test_a_restart_goes_on_where_the_cursor_stands(tmp_path: Path) -> None:
    ear = Ear()
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 3)
        await Deliverer(Subscription(consumer="ear", handler=ear), w.feed, w.tools).catch_up()
    async with world(tmp_path) as w:
        await w.notes(tenant_id, 2)
        await Deliverer(Subscription(consumer="ear", handler=ear), w.feed, w.tools).catch_up()
    assert ear.of(tenant_id) == [0, 1, 2, 3, 4, 5]


async def test_a_crash_between_handler_and_cursor_delivers_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 2)
        ear, reached = Ear(), asyncio.Event()

        async def handler(entry: Entry, tools: Tools) -> None:
            await ear(entry, tools)
            if entry.index == 1 and not reached.is_set():
                reached.set()
                await asyncio.Event().wait()

        subscription = Subscription(consumer="ear", handler=handler)
        running = asyncio.create_task(Deliverer(subscription, w.feed, w.tools).run())
        await asyncio.wait_for(reached.wait(), 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await Deliverer(subscription, w.feed, w.tools).catch_up()
        assert ear.of(tenant_id) == [0, 1, 1, 2]


async def test_a_projection_applies_each_entry_once_though_it_is_cancelled_again_and_again(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        writing = asyncio.create_task(w.notes(tenant_id, 120))
        for turns in range(1, 40):
            running = asyncio.create_task(Deliverer(SHOWN, w.feed, w.tools, page=5).run())
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await writing
        await Deliverer(SHOWN, w.feed, w.tools).catch_up()
        assert [row.entry_index for row in await shown(w, tenant_id)] == list(range(121))


async def test_two_deliverers_of_one_projection_do_not_apply_twice(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        both = [asyncio.create_task(Deliverer(SHOWN, w.feed, w.tools, page=3).run()) for _ in range(2)]
        await w.notes(tenant_id, 60)

        async def complete() -> bool:
            return await position(w, "shown", tenant_id) == 61

        await until(complete)
        for task in both:
            task.cancel()
        ended = await asyncio.gather(*both, return_exceptions=True)
        assert all(isinstance(e, asyncio.CancelledError) for e in ended)
        assert [row.entry_index for row in await shown(w, tenant_id)] == list(range(61))


async def test_a_rebuild_gives_the_same_rows_with_the_same_ids(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id, other = await w.tenant(), await w.tenant()
        await asyncio.gather(w.notes(tenant_id, 30), w.notes(other, 3))
        runner = JobRunner(w.tools, w.feed, w.leases, projections=(SHOWN,))
        await runner.catch_up()
        before, untouched = await shown(w, tenant_id), await shown(w, other)
        await runner.rebuild("shown", tenant_id)
        await runner.catch_up("shown")
        assert await shown(w, tenant_id) == before
        assert await shown(w, other) == untouched
        assert len({row.id for row in before}) == 31
        assert [row.id for row in before] == sorted(row.id for row in before)


async def test_a_rebuild_that_a_crash_cut_off_is_taken_up_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 5)
        deliverer = Deliverer(SHOWN, w.feed, w.tools)
        await deliverer.catch_up()
        before = await shown(w, tenant_id)
        await deliverer.rebuild(tenant_id)

        async def some(unit: Unit) -> None:
            for row in (await unit.list(Shown))[:2]:
                await unit.delete(row)

        await w.tools.housekeep(tenant_id, some)
        stored = await w.engine.fetch(schema_of(JobCursor), tenant_id, cursor_id("shown", tenant_id))
        assert stored is not None
        assert stored.record.state is CursorState.DROPPING
    async with world(tmp_path) as w:
        await Deliverer(SHOWN, w.feed, w.tools).catch_up()
        assert await shown(w, tenant_id) == before


async def test_a_rebuild_under_a_running_deliverer_ends_complete(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 20)
        running = Deliverer(SHOWN, w.feed, w.tools, page=4)
        task = asyncio.create_task(running.run())
        await Deliverer(SHOWN, w.feed, w.tools).rebuild(tenant_id)
        await running.rebuild(tenant_id)
        await w.notes(tenant_id, 20)

        async def complete() -> bool:
            return len(await shown(w, tenant_id)) == 41

        await until(complete)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [row.entry_index for row in await shown(w, tenant_id)] == list(range(41))


async def test_a_rebuild_asked_for_elsewhere_is_noticed_though_nothing_new_comes(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.notes(tenant_id, 3)
        task = asyncio.create_task(Deliverer(SHOWN, w.feed, w.tools).run())

        async def complete() -> bool:
            return await position(w, "shown", tenant_id) == 4 and len(await shown(w, tenant_id)) == 4

        await until(complete)
        await Deliverer(SHOWN, w.feed, w.tools).rebuild(tenant_id)
        assert not await complete()
        await until(complete)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_rebuild_of_a_consumer_that_never_ran_and_of_a_subscription(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        deliverer = Deliverer(SHOWN, w.feed, w.tools)
        await deliverer.rebuild(tenant_id)
        await deliverer.catch_up()
        assert len(await shown(w, tenant_id)) == 1
        with pytest.raises(TypeError, match="only a projection"):
            await Deliverer(Subscription(consumer="ear", handler=Ear()), w.feed, w.tools).rebuild(tenant_id)


# -- failures ------------------------------------------------------------------------------------


async def drive(w: World, deliverer: Deliverer, done: Callable[[], bool | Awaitable[bool]]) -> None:
    """Let it run until the condition holds."""
    task = asyncio.create_task(deliverer.run())
    try:
        await until(done)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_fails_is_tried_again_in_its_place_and_other_tenants_go_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ear = Ear()
        tenant_id, other = await w.tenant(), await w.tenant()
        await asyncio.gather(w.notes(tenant_id, 4), w.notes(other, 2))
        ear.deaf_to = {2}
        deliverer = Deliverer(Subscription(consumer="ear", handler=ear), w.feed, w.tools)
        letters = Letters(w.tools)

        async def failed_twice() -> bool:
            return any(x.attempts >= 2 for x in await letters.of("ear"))

        await drive(w, deliverer, failed_twice)
        assert ear.of(tenant_id) == [0, 1]
        assert {i for i in ear.of(other) if i != 2} == {0, 1}
        (letter, *_) = [x for x in await letters.of("ear") if x.tenant_id == tenant_id]
        assert (letter.entry_index, letter.status) == (2, LetterStatus.RETRYING)
        assert "RuntimeError: no line" in letter.error
        ear.deaf_to = set()
        await drive(w, deliverer, lambda: ear.of(tenant_id) == [0, 1, 2, 3, 4] and 2 in ear.of(other))

        async def no_letters() -> bool:
            await Deliverer(Subscription(consumer="ear", handler=ear), w.feed, w.tools).catch_up()
            return not await letters.of("ear")

        await until(no_letters)


async def stuck(w: World, passes_dead: bool) -> tuple[Ear, Deliverer, str]:
    """A subscriber that cannot take entry 2 and gives up at once."""
    ear = Ear()
    ear.deaf_to = {2}
    tenant_id = await w.tenant()
    await w.notes(tenant_id, 4)
    subscription = Subscription(consumer="ear", handler=ear, attempts=1, passes_dead=passes_dead)
    deliverer = Deliverer(subscription, w.feed, w.tools)
    await deliverer.catch_up()
    return ear, deliverer, tenant_id


async def test_a_dead_letter_holds_its_tenant_until_a_person_retries_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as w:
        with caplog.at_level(logging.ERROR):
            ear, deliverer, tenant_id = await stuck(w, passes_dead=False)
        assert "could not be delivered" in caplog.text
        assert ear.of(tenant_id) == [0, 1]
        letters = Letters(w.tools)
        (letter,) = await letters.dead()
        await deliverer.catch_up()
        assert ear.of(tenant_id) == [0, 1]
        ear.deaf_to = set()
        await letters.retry(tenant_id, letter.id)
        with pytest.raises(IllegalState):
            await letters.skip(tenant_id, letter.id)
        await deliverer.catch_up()
        assert ear.of(tenant_id) == [0, 1, 2, 3, 4]
        assert await letters.of("ear") == []
        with pytest.raises(NotFound):
            await letters.retry(tenant_id, letter.id)


async def test_a_skipped_letter_is_passed_over(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ear, deliverer, tenant_id = await stuck(w, passes_dead=False)
        letters = Letters(w.tools)
        (letter,) = await letters.dead()
        await letters.skip(tenant_id, letter.id)
        await deliverer.catch_up()
        assert ear.of(tenant_id) == [0, 1, 3, 4]
        assert await letters.of("ear") == []


async def test_who_passes_over_the_dead_goes_on_and_the_letter_can_be_delivered_later(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ear, deliverer, tenant_id = await stuck(w, passes_dead=True)
        assert ear.of(tenant_id) == [0, 1, 3, 4]
        letters = Letters(w.tools)
        (letter,) = await letters.dead()
        await letters.retry(tenant_id, letter.id)
        await deliverer.catch_up()
        (letter,) = await letters.dead()
        ear.deaf_to = set()
        await letters.retry(tenant_id, letter.id)
        await deliverer.catch_up()
        assert ear.of(tenant_id) == [0, 1, 3, 4, 2]
        assert await letters.of("ear") == []


async def test_a_projection_that_cannot_take_an_entry_keeps_all_before_it_and_waits(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        refusing = True

        async def picky(unit: Unit, entries: Sequence[Entry]) -> None:
            if refusing and any(e.index == 3 for e in entries):
                raise ValueError("cannot read this")
            await show(unit, entries)

        tenant_id = await w.tenant()
        await w.notes(tenant_id, 5)
        projection = Projection(consumer="shown", tables=(Shown,), apply=picky, attempts=1)
        deliverer = Deliverer(projection, w.feed, w.tools)
        await deliverer.catch_up()
        assert [row.entry_index for row in await shown(w, tenant_id)] == [0, 1, 2]
        (letter,) = await Letters(w.tools).dead()
        await Letters(w.tools).skip(tenant_id, letter.id)
        await deliverer.catch_up()
        assert [row.entry_index for row in await shown(w, tenant_id)] == [0, 1, 2, 4, 5]
        refusing = False
        await deliverer.rebuild(tenant_id)
        await deliverer.catch_up()
        assert [row.entry_index for row in await shown(w, tenant_id)] == list(range(6))


async def test_a_store_in_trouble_is_no_fault_of_an_entry(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()

        async def full(entry: Entry, tools: Tools) -> None:
            raise StorageFull("the disk is full")

        deliverer = Deliverer(Subscription(consumer="ear", handler=full), w.feed, w.tools)
        with pytest.raises(StoreTrouble):
            await asyncio.wait_for(deliverer.run(), 10)
        assert await Letters(w.tools).of("ear") == []
        assert await position(w, "ear", tenant_id) == 0


async def test_a_handler_reaches_operations_through_the_pipeline(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()
        await w.note(tenant_id)

        async def handler(entry: Entry, tools: Tools) -> None:
            await tools.invoke("mails.send", entry.tenant_id, {"to": "x"}, idempotency_key=entry.key)

        only = Subscription(consumer="mail", handler=handler, operations=("notes.create",))
        await Deliverer(only, w.feed, w.tools).catch_up()
        assert w.invoked == [("mails.send", tenant_id, {"to": "x"}, f"{tenant_id}/1")]


async def test_jobs_cannot_write_rows_with_history_beside_the_ledger(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tenant_id = await w.tenant()

        async def write(unit: Unit) -> None:
            unit.create(Note(id=unit.new_id(Note), tenant_id=tenant_id, title="sneaky"))

        with pytest.raises(TypeError, match="keeps history"):
            await w.tools.housekeep(tenant_id, write)
