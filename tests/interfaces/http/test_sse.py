"""Effects over HTTP: waiting, streaming, hanging up."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tests.interfaces.web import Web
from tests.kernel.operations.house import House
from tests.kernel.operations.notes import Broken, Deed, Line
from thane.interfaces.http.sse import EventQueue

STREAM = "text/event-stream"


def events(body: bytes) -> list[tuple[str, Any]]:
    found = []
    for frame in body.decode().strip().split("\n\n"):
        name, data = frame.split("\n")
        found.append((name.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))))
    return found


async def idle(house: House) -> None:
    while house.pipeline.effects.under_way:
        await asyncio.sleep(0.005)


async def statuses(house: House) -> list[str]:
    return [d.status for d in await house.records.across(Deed)]


async def test_json_waits_for_the_outcome(web: Web) -> None:
    got = await web("POST", "/deeds", {"what": "dig"})
    assert got.status == 201
    assert got.headers["thane-intent-index"] == "0"
    assert got.headers["thane-ledger-index"] == "1"
    assert got.headers["location"].startswith("/api/v1/deeds/ded_")
    assert got.json["ledger"] == {
        "index": 1,
        "leaf_hash": got.json["ledger"]["leaf_hash"],
        "intent_index": 0,
    }


async def test_a_stream_shows_progress_and_ends_with_the_result(web: Web) -> None:
    got = await web("POST", "/deeds", {"what": "dig"}, accept=STREAM)
    assert (got.status, got.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert got.headers["thane-request-id"].startswith("req_")
    assert "content-length" not in got.headers
    found = events(got.body)
    assert [name for name, _ in found] == ["output", "output", "result"]
    assert found[0][1] == {"type": "output", "text": "begun"}
    assert found[-1][1]["outcome"] == "completed"


async def test_what_is_refused_before_it_acts_is_an_ordinary_problem(web: Web) -> None:
    got = await web("POST", "/deeds", {"what": "forbidden"}, accept=STREAM)
    assert (got.status, got.headers["content-type"]) == (404, "application/problem+json")
    assert (await web("POST", "/deeds", {"wat": 1}, accept=STREAM)).status == 422


async def test_a_failure_after_the_first_byte_is_an_error_event(web: Web, house: House) -> None:
    house.world.settle_fails = Broken("the disk melted")
    (house.folder / "spool").write_text("no folder")
    got = await web("POST", "/deeds", {"what": "dig"}, accept=STREAM)
    assert (got.status, got.starts) == (200, 1)
    name, problem = events(got.body)[-1]
    assert (name, problem["code"], problem["status"]) == ("error", "outcome_unrecorded", 507)
    assert problem["result"]["text"] == "DIG"


async def test_a_hang_up_ends_the_effect(web: Web, house: House) -> None:
    for accept in ("application/json", STREAM):
        house.world.go.clear()
        house.world.begun.clear()
        gone = asyncio.Event()
        asked = asyncio.create_task(web("POST", "/deeds", {"what": "dig"}, accept=accept, hang_up=gone))
        await house.world.begun.wait()
        gone.set()
        await asked
        await idle(house)
    assert await statuses(house) == ["cancelled", "cancelled"]


async def test_with_a_key_the_effect_outlives_its_connection(web: Web, house: House) -> None:
    house.world.go.clear()
    gone = asyncio.Event()
    asked = asyncio.create_task(web("POST", "/deeds", {"what": "dig"}, hang_up=gone, idempotency_key="k1"))
    await house.world.begun.wait()
    busy = await web("POST", "/deeds", {"what": "dig"}, idempotency_key="k1")
    assert (busy.status, busy.json["code"], busy.headers["retry-after"]) == (409, "in_progress", "1")
    assert busy.json["location"].startswith("/deeds/ded_")
    gone.set()
    assert (await asked).status == 0
    attached = asyncio.create_task(
        web("POST", "/deeds", {"what": "dig"}, idempotency_key="k1", accept=STREAM)
    )
    await asyncio.sleep(0)
    house.world.go.set()
    assert events((await attached).body)[-1][0] == "result"
    assert await statuses(house) == ["completed"]
    again = await web("POST", "/deeds", {"what": "dig"}, idempotency_key="k1", accept=STREAM)
    assert [name for name, _ in events(again.body)] == ["result"]


async def test_a_slow_reader_loses_progress_and_is_told() -> None:
    queue = EventQueue(most=2)
    for i in range(5):
        queue.put(Line(text=str(i)))
    frames = queue.take()
    assert [f.split(b"\n")[0] for f in frames] == [b"event: output", b"event: output", b"event: gap"]
    assert b'{"dropped":3}' in frames[-1]
    assert queue.take() == []
