"""The hub over the ledger: nothing lost or repeated, shared work, and nobody who waits for a slow watch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.kernel.jobs.world import Note, World, until, world
from thane.kernel.errors import Corrupt, Invalid
from thane.kernel.live.choice import Choice
from thane.kernel.live.events import Event, Place, place_in_ledger
from thane.kernel.live.hub import Hub, Watch
from thane.kernel.live.ledger import LedgerSource
from thane.kernel.records import schema_of

VISIBLE = frozenset(schema_of(Note).names)


def choice(filter: str = "", fields: str = "") -> Choice:
    return Choice(schema_of(Note), VISIBLE, filter, fields)


class Live:
    """A tenant of a world, and a hub on it."""

    def __init__(self, w: World, tenant_id: str, *, few: bool = True, **options: Any) -> None:
        self.w = w
        self.few = few
        self.tenant_id = tenant_id
        self.hub = Hub(w.feed, **options)

    @asynccontextmanager
    async def watch(
        self, after: str | None = None, filter: str = "", fields: str = ""
    ) -> AsyncIterator[Watch]:
        source = LedgerSource(self.w.records, self.w.feed, self.tenant_id, lambda: self.few)
        place = Place(await source.end()) if after is None else place_in_ledger(after)
        watch = self.hub.watch(source, choice(filter, fields), place)
        try:
            yield watch
        finally:
            watch.close()

    async def events(self, after: str, count: int, filter: str = "", fields: str = "") -> list[Event]:
        async with self.watch(after, filter, fields) as watch:
            return await take(watch, count)


@asynccontextmanager
async def living(path: Path, **options: Any) -> AsyncIterator[Live]:
    async with world(path) as w:
        yield Live(w, await w.tenant(), **options)


async def take(watch: Watch, count: int) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(20):
        while len(found) < count and watch.finished is None:
            found += await watch.take()
    return found


async def joined(watch: Watch) -> None:
    """Let it stand beside the shared reader."""
    async with asyncio.timeout(20):
        while not watch.is_live:
            assert await watch._catch_up() == []


def told(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.name, body(event)["id"]) for event in events]


def body(event: Event) -> Any:
    return msgspec.json.decode(event.data)


async def expected(live: Live) -> list[str]:
    """The ids of all changes of notes, from the ledger itself."""
    rows = await live.w.engine.entries(live.tenant_id, 0, 100_000)
    return [f"{r.index}.{n}" for r in rows for n, head in enumerate(r.heads) if head.schema == "notes"]


# -- nothing lost, nothing repeated ---------------------------------------------------------


async def write(live: Live, seed: int, count: int) -> None:
    """Notes alone, in batches, changed and removed, in an order that the seed gives."""
    chance, mine = random.Random(seed), list[Note]()
    for n in range(count):
        kind = chance.choice("nbcd") if mine else "n"
        if kind == "n":
            mine.append(await live.w.note(live.tenant_id, chance.choice(["in", "out"])))
        elif kind == "b":
            await batch(live, [chance.choice(["in", "out"]) for _ in range(chance.randint(2, 5))])
        elif kind == "c":
            place = chance.randrange(len(mine))
            mine[place] = await live.w.retitle(mine[place], f"{chance.choice(['in', 'out'])} {n}")
        else:
            await live.w.remove(mine.pop(chance.randrange(len(mine))))


async def batch(live: Live, titles: list[str]) -> None:
    async def make(unit: Any) -> None:
        unit.create_many(
            Note(id=unit.new_id(Note), tenant_id=live.tenant_id, title=title) for title in titles
        )

    await live.w.act(live.tenant_id, "notes.import", make)


async def restless(live: Live, seed: int, done: asyncio.Event, filter: str = "") -> list[Event]:
    """Watches, hangs up in the middle of what it gets, and comes back with the last id it has seen."""
    chance = random.Random(seed)
    seen: list[Event] = []
    last = "-1"
    idle = False
    async with asyncio.timeout(30):
        while not (idle and done.is_set()):
            idle = done.is_set()
            async with live.watch(last, filter) as watch:
                for _ in range(chance.randint(1, 12)):
                    events = await watch.take()
                    kept = events[: chance.randint(0, len(events))] if chance.random() < 0.3 else events
                    seen += kept
                    last = kept[-1].id if kept else last
                    idle = idle and not events
                    if len(kept) < len(events):
                        break
                else:
                    # Whole pages were taken: the position alone is as good as an id.
                    last = watch.position
    return seen


@pytest.mark.parametrize("seed", range(4))
async def test_restless_watches_miss_and_repeat_nothing_while_all_write(tmp_path: Path, seed: int) -> None:
    # With few sources each looks for itself when the bell rings; with many they share one look.
    async with living(tmp_path, patience_seconds=0.02, few=seed % 2 == 0) as live:
        done = asyncio.Event()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            watching = [group.create_task(restless(live, seed * 10 + n, done)) for n in range(6)]
            filtered = [group.create_task(restless(live, n, done, 'title ~ "in"')) for n in range(3)]
            await asyncio.gather(*(write(live, seed * 100 + n, 40) for n in range(4)))
            done.set()
        whole = await expected(live)
        for each in watching:
            assert [event.id for event in each.result()] == whole
        # What a filter lets through is the same whether it was seen live or read later.
        later = await live.events("-1", len(filtered[0].result()), 'title ~ "in"')
        for each in filtered:
            assert [(e.id, e.data) for e in each.result()] == [(e.id, e.data) for e in later]
        assert live.hub.readers == 0
        print(f"{len(whole)} changes, {len(later)} under the filter")


async def test_a_watch_resumes_inside_an_entry(tmp_path: Path) -> None:
    async with living(tmp_path) as live:
        await batch(live, ["a", "b", "c"])
        await live.w.note(live.tenant_id, "d")
        whole = await live.events("-1", 4)
        assert [e.id for e in whole] == ["1.0", "1.1", "1.2", "2.0"]
        assert [e.id for e in await live.events("1.1", 2)] == ["1.2", "2.0"]
        assert [e.id for e in await live.events("1.2", 1)] == ["2.0"]
        assert [e.id for e in await live.events("1", 1)] == ["2.0"]


@pytest.mark.parametrize("wrong", ["", "x", "-2", "1.", ".1", "1.x", "1e3", "-1.0", "9" * 30, "١", "1 "])
def test_what_is_no_position_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid, match="no position"):
        place_in_ledger(wrong)


# -- what a watch is told --------------------------------------------------------------------


async def test_rows_enter_and_leave_a_filter(tmp_path: Path) -> None:
    async with living(tmp_path) as live:
        inside = await live.w.note(live.tenant_id, "in")
        outside = await live.w.note(live.tenant_id, "out")
        inside = await live.w.retitle(inside, "out now")
        inside = await live.w.retitle(inside, "out still")
        await live.w.retitle(outside, "in now")
        await live.w.remove(outside)
        await live.w.remove(inside)
        events = await live.events("-1", 4, 'title ~ "in"')
        assert told(events) == [
            ("create", inside.id),
            ("leave", inside.id),
            ("update", outside.id),
            ("delete", outside.id),
        ]
        shown = [body(e) for e in events]
        assert [s["record"] and s["record"]["title"] for s in shown] == ["in", None, "in now", None]
        assert [s["version"] for s in shown] == [1, 2, 2, None]
        assert [s["index"] for s in shown] == [1, 3, 5, 6]
        assert all(s["entity"] == "notes" and s["at"].startswith("20") for s in shown)


async def test_sealed_values_are_never_sent_and_fields_are_those_asked_for(tmp_path: Path) -> None:
    async with living(tmp_path) as live:
        await live.w.note(live.tenant_id, "in")
        (whole,) = await live.events("-1", 1)
        assert set(body(whole)["record"]) == {"id", "tenant_id", "title", "amount", "version"}
        assert b"s3cret" not in whole.data
        assert body(whole)["record"]["amount"] == "0.5"
        (some,) = await live.events("-1", 1, fields="title, version")
        assert body(some)["record"] == {"title": "in", "version": 1}
    for fields in ("secret", "tittle", "title.inner", ",", "version.x"):
        with pytest.raises(Invalid):
            choice(fields=fields)
    with pytest.raises(Invalid, match="sealed"):
        choice(filter='secret = "s3cret"')


async def test_a_version_that_an_emptied_body_took_is_told_without_its_record(tmp_path: Path) -> None:
    async with living(tmp_path) as live:
        note = await live.w.note(live.tenant_id, "in")
        await live.w.retitle(note, "out")
        await live.w.engine.blank(live.tenant_id, 1, [0], True)
        first, second = await live.events("-1", 2, 'title = "in"')
        assert (first.name, body(first)["record"], body(first)["version"]) == ("create", None, None)
        # Nobody can say any more whether it was in: the leave is told to be safe.
        assert second.name == "leave"


async def test_another_tenants_entries_are_not_seen(tmp_path: Path) -> None:
    async with living(tmp_path) as live:
        other = await live.w.tenant()
        await live.w.note(other, "theirs")
        mine = await live.w.note(live.tenant_id, "mine")
        assert told(await live.events("-1", 1)) == [("create", mine.id)]


# -- shared work -------------------------------------------------------------------------------


async def test_many_watches_cost_one_reading_and_one_judgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(tmp_path) as live:
        opened, judged = 0, 0
        record_of, admits = live.w.records.record_of, Choice.admits

        async def counted(*given: Any) -> Any:
            nonlocal opened
            opened += 1
            return await record_of(*given)

        def counted_too(self: Choice, record: Any) -> bool:
            nonlocal judged
            judged += 1
            return admits(self, record)

        monkeypatch.setattr(live.w.records, "record_of", counted)
        monkeypatch.setattr(Choice, "admits", counted_too)
        source = LedgerSource(live.w.records, live.w.feed, live.tenant_id)
        place = Place(await source.end())
        wanted = [choice('title ~ "in"'), choice('title ~ "in"', "id"), choice('title ~ "out"'), choice()]
        watches = [live.hub.watch(source, wanted[n % 4], place) for n in range(200)]
        for watch in watches:
            await joined(watch)
        assert live.hub.readers == 1
        for _ in range(5):
            await live.w.note(live.tenant_id, "in")
        for n, watch in enumerate(watches):
            if n % 4 != 2:
                assert len(await take(watch, 5)) == 5
        # 200 watches, four choices, two filters: each row is unsealed once and judged once per filter.
        assert (opened, judged) == (5, 10)
        same = [await take_now(watch) for watch in watches]
        assert not any(same)
        for watch in watches:
            watch.close()
        assert live.hub.readers == 0


async def take_now(watch: Watch) -> list[Event]:
    return list(watch._queue)


# -- slow, broken, over ------------------------------------------------------------------------


async def test_a_slow_watch_is_dropped_and_comes_back_without_loss(tmp_path: Path) -> None:
    async with living(tmp_path, most_events=10) as live:
        async with live.watch() as slow, live.watch() as quick:
            await joined(slow)
            await joined(quick)
            reading = asyncio.create_task(take(quick, 30))
            async with asyncio.timeout(20):
                for n in range(30):
                    await live.w.note(live.tenant_id, f"note {n}")
                assert len(await reading) == 30
                await asyncio.wait({slow.dropped})
            end = slow.finished
            assert end is not None
            assert end.reason == "slow"
            assert await slow.take() == []
        assert len(await live.events("0", 30)) == 30


async def test_one_entry_may_be_longer_than_the_queue(tmp_path: Path) -> None:
    async with living(tmp_path, most_events=10) as live, live.watch() as watch:
        await joined(watch)
        await batch(live, ["a"] * 50)
        assert len(await take(watch, 50)) == 50
        await live.w.note(live.tenant_id)
        assert len(await take(watch, 1)) == 1


async def test_bytes_count_too(tmp_path: Path) -> None:
    async with living(tmp_path, most_bytes=20_000) as live, live.watch() as watch:
        await joined(watch)
        for _ in range(5):
            await live.w.note(live.tenant_id, "x" * 9_000)
        await until(lambda: watch.reason is not None)
        assert watch.reason == "slow"


async def test_a_source_that_fails_ends_its_watches_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(tmp_path) as live:
        async with live.watch() as watch:
            await joined(watch)

            async def broken(self: Any, position: int, limit: int) -> Any:
                raise Corrupt("entry 1 is missing")

            with monkeypatch.context() as patch:
                patch.setattr(LedgerSource, "page", broken)
                live.w.feed.ring()
                await until(lambda: watch.finished is not None)
            assert watch.reason == "failed"
        note = await live.w.note(live.tenant_id)
        assert told(await live.events("0", 1)) == [("create", note.id)]


async def test_a_dropped_watch_is_given_nothing_more(tmp_path: Path) -> None:
    async with living(tmp_path) as live, live.watch() as watch:
        await joined(watch)
        await live.w.note(live.tenant_id)
        await until(lambda: bool(watch._queue))
        watch.drop("unauthorized", "the key was revoked")
        assert await watch.take() == []
        assert watch.finished is not None
        await live.w.note(live.tenant_id)
        assert await watch.take() == []


async def test_who_joins_while_an_entry_is_worked_on_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last watch of the same choice has just left."""
    async with living(tmp_path) as live, live.watch() as other:
        await joined(other)
        working, go = asyncio.Event(), asyncio.Event()
        events = LedgerSource.events

        async def held_up(self: LedgerSource, item: Any, wanted: Choice) -> Any:
            if wanted.predicate is None:
                working.set()
                await go.wait()
            return await events(self, item, wanted)

        async with live.watch(filter='title ~ "a"') as leaves:
            await joined(leaves)
            monkeypatch.setattr(LedgerSource, "events", held_up)
            note = await live.w.note(live.tenant_id, "a")
            await asyncio.wait_for(working.wait(), 20)
        source = LedgerSource(live.w.records, live.w.feed, live.tenant_id)
        late = [live.hub.watch(source, choice('title ~ "a"', fields), Place(1)) for fields in ("", "id")]
        for watch in late:
            await joined(watch)
        go.set()
        for watch in (other, *late):
            assert told(await take(watch, 1)) == [("create", note.id)]
            watch.close()
