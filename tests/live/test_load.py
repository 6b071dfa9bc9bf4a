"""Under load: how soon a change is seen in another process, a thousand watchers, and a slow one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.live.conftest import percentile, writing
from tests.support.live import BOUND, Sse, Told, sse, websocket
from tests.support.program import Served

WATCHERS = 1000


def delay_ms(told: Told) -> float:
    """From the commit, by the entry's own time, to the client."""
    return (told.at - datetime.fromisoformat(told.data["at"]).timestamp()) * 1000


def shown(name: str, values: list[float]) -> str:
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return f"{name}: p50 {p50:.1f}, p99 {p99:.1f}, most {max(values):.1f} ms"


async def test_a_change_is_seen_at_once_in_another_process(
    server: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """The writer, the server and the watcher are three processes; the writer does not rest."""
    asked = {"entity": "sandboxes", "filter": 'name = "soon"', "fields": "id"}
    async with sse(server, asked) as watch, websocket(server, asked) as socket:
        async with writing(server, "soon", connections=8) as load:
            seen, over_socket = await asyncio.gather(watch.take(2000), socket.take(2000))
        made = load.figures["ids"]
        rest = len(made) - len(seen)
        seen += await watch.take(rest)
    delays, socket_delays = [delay_ms(t) for t in seen], [delay_ms(t) for t in over_socket]
    assert sorted(t.data["id"] for t in seen) == sorted(made)
    with capsys.disabled():
        rate = 1000 * 8 / (sum(load.figures["ms"]) / len(made))
        print(f"\n{len(made)} commits at about {rate:.0f}/s from another process, commit to client:")
        print("  " + shown("server-sent events", delays))
        print("  " + shown("WebSocket", socket_delays))
    assert percentile(delays, 0.5) < 1000
    assert percentile(socket_delays, 0.5) < 1000


async def test_a_thousand_watchers_see_everything(
    server: Served, many_files: None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncExitStack() as stack:
        began = time.monotonic()
        watches: list[Sse] = []
        for n in range(0, WATCHERS, 50):
            asked = {"entity": "sandboxes", "filter": f'name = "many" && language != "other {n % 4}"'}
            watches += await asyncio.gather(
                *(stack.enter_async_context(sse(server, asked)) for _ in range(50))
            )
        opened = time.monotonic() - began
        names = [f"many {n}" for n in range(5)]
        ids = []
        for _ in names:
            answer = await asyncio.to_thread(server.call, "POST", "/sandboxes", {"name": "many"})
            ids.append(answer.json["id"])
        told = await asyncio.gather(*(watch.take(len(ids)) for watch in watches))
        for each in told:
            assert [t.data["id"] for t in each] == ids
        memory = int(_status(server, "VmRSS"))
    delays = [delay_ms(t) for each in told for t in each]
    with capsys.disabled():
        print(f"\n{len(watches)} watchers opened in {opened:.1f} s, {len(delays)} events, {memory >> 10} MB:")
        print("  " + shown("commit to client", delays))
    assert len(watches) == WATCHERS
    assert percentile(delays, 0.5) < 10_000


def _status(server: Served, name: str) -> str:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(name))


@asynccontextmanager
async def slow_sse(server: Served, asked: dict[str, str]) -> AsyncIterator[Sse]:
    """A watcher that reads nothing by itself after its first event."""
    async with sse(server, asked) as watch:
        watch.pause()
        yield watch


async def dropped(server: Served) -> bool:
    """Whether the access row of a slow end is there."""
    asked = quote('error_message = "slow" && resource_id = "sandboxes"')
    answer = await asyncio.to_thread(server.call, "GET", f"/audit-logs?limit=1&filter={asked}")
    return bool(answer.json["items"])


async def test_a_slow_watcher_is_dropped_and_slows_nobody(
    server: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """It reads nothing while a writer fills every buffer between them; nobody else notices."""
    asked = {"entity": "sandboxes", "filter": 'name = "filling"'}
    async with sse(server, {**asked, "fields": "id"}) as quick:
        async with writing(server, "filling", kilobytes=100) as before:
            await quick.take(100)
        counted = len(before.figures["ids"])
        await quick.take(counted - 100)
        async with slow_sse(server, asked) as slow:
            async with writing(server, "filling", kilobytes=100) as load:
                reading = asyncio.create_task(quick.take(500))
                async with asyncio.timeout(BOUND):
                    seen = await reading
                    while not await dropped(server):
                        seen += await quick.take(50)
            seen += await quick.take(len(load.figures["ids"]) - len(seen))
            assert [t.data["id"] for t in seen] == load.figures["ids"]
            # What had reached its buffers is read first; then it is told why, or was cut off.
            slow.resume()
            got = await slow.rest()
        last = slow.last_id
        if got[-1].event == "end":
            assert got.pop().data["reason"] == "slow"
        own = [t.data["id"] for t in got]
        assert own == load.figures["ids"][: len(own)]
        assert len(own) < len(load.figures["ids"])
        async with sse(server, asked, last=last) as again:
            own += [t.data["id"] for t in await again.take(len(load.figures["ids"]) - len(own))]
        assert own == load.figures["ids"], "nothing was lost to the slow one that came back"
    with capsys.disabled():
        alone, beside = before.figures["ms"], load.figures["ms"]
        print("\n  " + shown("answers to the writer alone", alone))
        print("  " + shown("beside a slow watcher", beside))
    assert percentile(beside, 0.5) < 5 * percentile(alone, 0.5) + 50
