"""Watching over HTTP and WebSocket: who may, what is told, how it ends, and the trail of it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.http.conftest import House
from tests.support.live import BOUND, Refused, sse, websocket
from tests.support.program import Served, eventually


async def call(server: Served, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
    answer = await asyncio.to_thread(server.call, method, path, body, key=key)
    assert answer.status < 300, answer.body
    return answer.json


async def create(server: Served, name: str, key: str | None = None) -> str:
    made: str = (await call(server, "POST", "/sandboxes", {"name": name}, key))["id"]
    return made


@pytest.mark.parametrize("way", ["sse", "websocket"])
async def test_changes_are_told_as_they_happen_under_filter_and_fields(server: Served, way: str) -> None:
    asked = {
        "entity": "sandboxes",
        "filter": f'name ~ "{way}" && status != "terminated"',
        "fields": "name,status",
    }
    async with sse(server, asked) if way == "sse" else websocket(server, asked) as watch:
        await create(server, "another")
        mine = await create(server, f"a {way}")
        await call(server, "POST", f"/sandboxes/{mine}/terminate", {})
        made, left = await watch.take(2)
    assert (made.event, made.data["id"], made.data["record"]) == (
        "create",
        mine,
        {"name": f"a {way}", "status": "created"},
    )
    assert (left.event, left.data["id"], left.data["record"], left.data["version"]) == (
        "leave",
        mine,
        None,
        2,
    )
    assert made.id == f"{made.data['index']}.0"
    assert made.data["operation"] == "create"


async def test_both_ways_resume_from_any_id(server: Served) -> None:
    async with sse(server, entity="sandboxes") as watch:
        ids = [await create(server, f"resumed {n}") for n in range(4)]
        told = await watch.take(4)
    assert [t.data["id"] for t in told] == ids
    for n, each in enumerate(told):
        for again in (
            sse(server, entity="sandboxes", last=each.id),
            sse(server, entity="sandboxes", after=str(each.id)),
        ):
            async with again as watch:
                assert [t.data["id"] for t in await watch.take(3 - n)] == ids[n + 1 :]
    async with websocket(server, entity="sandboxes", after=str(told[1].id)) as socket:
        assert [t.data["id"] for t in await socket.take(2)] == ids[2:]


async def test_a_watch_needs_what_the_list_needs(house: House) -> None:
    server = house.server
    narrow = await call(server, "POST", "/keys", {"name": "watcher", "scopes": ["sandboxes.list"]})
    async with sse(server, key=narrow["key"], entity="sandboxes") as watch:
        mine = await create(server, "seen")
        assert [t.data["id"] for t in await watch.take(1)] == [mine]
    for entity, needs in (("executions", "executions.list"), ("api_keys", "api_keys.list")):
        with pytest.raises(Refused) as refused:
            async with sse(server, key=narrow["key"], entity=entity):
                pass
        assert (refused.value.status, refused.value.problem["needs"]) == (403, needs)
    with pytest.raises(Refused) as refused:
        async with sse(server, key=narrow["key"], entity="execution_chunks", parent="exe_1"):
            pass
    assert (refused.value.status, refused.value.problem["needs"]) == (403, "executions.output")


async def test_another_tenant_sees_only_its_own(house: House) -> None:
    server = house.server
    async with (
        sse(server, key=house.stranger, entity="sandboxes") as theirs,
        sse(server, entity="sandboxes") as mine,
    ):
        here = await create(server, "mine")
        there = await create(server, "theirs", house.stranger)
        assert [t.data["id"] for t in await theirs.take(1)] == [there]
        assert [t.data["id"] for t in await mine.take(1)] == [here]
    done = await call(server, "POST", f"/sandboxes/{here}/executions", {"code": "print(1)"})
    with pytest.raises(Refused) as refused:
        async with sse(server, key=house.stranger, entity="execution_chunks", parent=done["id"]):
            pass
    assert (refused.value.status, refused.value.problem["code"]) == (404, "not_found")


async def test_keys_are_watched_as_they_are_listed(server: Served) -> None:
    async with sse(server, entity="api_keys") as watch:
        made = await call(server, "POST", "/keys", {"name": "watched"})
        (told,) = await watch.take(1)
    assert told.data["record"]["prefix"] == made["prefix"]
    assert "key_hash" not in told.data["record"]
    assert made["key"] not in json.dumps(told.data)


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ({}, 422, "/entity"),
        ({"entity": "sandboxs"}, 422, "/entity"),
        ({"entity": "audit_logs"}, 422, "/entity"),
        ({"entity": "users"}, 422, "/entity"),
        ({"entity": "sandboxes", "filter": "nmae = 1"}, 422, "/filter"),
        ({"entity": "sandboxes", "fields": "nmae"}, 422, "/fields"),
        ({"entity": "sandboxes", "parent": "sbx_1"}, 422, "/parent"),
        ({"entity": "sandboxes", "after": "x"}, 422, "/after"),
        ({"entity": "sandboxes", "after": "999999999"}, 422, "/after"),
        ({"entity": "sandboxes", "colour": "red"}, 422, "/colour"),
        ({"entity": "execution_chunks"}, 422, "/parent"),
        ({"entity": "execution_chunks", "parent": "exe_none"}, 404, None),
        ({"entity": "api_keys", "filter": 'key_hash = "x"'}, 422, "/filter"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    server: Served, query: dict[str, str], status: int, pointer: str | None
) -> None:
    ways: list[Any] = [sse, websocket]
    for way in ways:
        with pytest.raises(Refused) as refused:
            async with way(server, query):
                pass
        assert refused.value.status == status
        if pointer is not None:
            assert refused.value.problem["errors"][0]["pointer"] == pointer


# -- the WebSocket's handshake ---------------------------------------------------------------


async def test_a_browsers_token_comes_as_a_sub_protocol_and_is_not_repeated(server: Served) -> None:
    protocols = ["thane.watch.v1", f"thane.bearer.{server.key}"]
    async with websocket(server, headers={}, protocols=protocols, entity="sandboxes") as socket:
        assert socket.protocol == "thane.watch.v1"
        mine = await create(server, "from a browser")
        assert (await socket.take(1))[0].data["id"] == mine
    assert server.key not in server.log.read_text()


async def test_handshakes_that_are_refused(house: House) -> None:
    server = house.server
    bearer = {"Authorization": f"Bearer {server.key}"}
    token = f"thane.bearer.{server.key}"
    wrong: list[tuple[dict[str, str], list[str], int]] = [
        ({}, [], 401),
        ({"Authorization": "Bearer nonsense"}, [], 401),
        ({"Authorization": f"Bearer {house.expired}"}, [], 401),
        ({}, ["thane.watch.v1"], 401),
        ({}, ["thane.watch.v1", "thane.bearer."], 401),
        ({}, ["thane.watch.v1", "thane.bearer.nonsense"], 401),
        ({}, [token], 422),
        ({}, ["thane.watch.v1", token, token], 422),
        (bearer, ["thane.watch.v1", token], 422),
        (bearer, ["chat"], 422),
        ({**bearer, "Origin": "https://evil.example"}, [], 403),
        ({**bearer, "Origin": "null"}, [], 403),
    ]
    await asyncio.to_thread(
        eventually, lambda: server.call("GET", "/me", key=house.expired).status == 401, "the key's end"
    )
    for headers, protocols, status in wrong:
        with pytest.raises(Refused) as refused:
            async with websocket(server, headers=headers, protocols=protocols, entity="sandboxes"):
                pass
        assert refused.value.status == status, (headers, protocols)
        assert refused.value.problem["hint"]
    for path, status in (("/api/v1/sandboxes", 405), ("/api/v1/nowhere", 404), ("/health", 404)):
        with pytest.raises(Refused) as refused:
            async with websocket(server, path=path):
                pass
        assert refused.value.status == status
    same = {**bearer, "Origin": server.url}
    async with websocket(server, headers=same, entity="sandboxes") as socket:
        first = await asyncio.wait_for(socket.next(), BOUND)
        assert first is not None
        assert first.event == "ready"


async def test_a_token_in_the_url_is_no_token(server: Served) -> None:
    for name in ("token", "access_token"):
        with pytest.raises(Refused) as refused:
            async with sse(server, {"entity": "sandboxes", name: server.key}, key=None):
                pass
        assert refused.value.status == 401


async def test_a_message_of_the_client_ends_the_watch(server: Served) -> None:
    async with websocket(server, entity="sandboxes") as socket:
        await socket.say(json.dumps({"token": "anything"}))
        told = await socket.rest()
        assert (told[-1].event, told[-1].data["reason"], socket.closed) == ("end", "message", 1008)


# -- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sse", "websocket"])
async def test_a_revoked_key_ends_its_watches_within_five_seconds(server: Served, way: str) -> None:
    made = await call(server, "POST", "/keys", {"name": "brief"})
    bearer = {"Authorization": f"Bearer {made['key']}"}
    opened = (
        sse(server, key=made["key"], entity="sandboxes")
        if way == "sse"
        else websocket(server, headers=bearer, entity="sandboxes")
    )
    async with opened as watch:
        await call(server, "POST", f"/keys/{made['id']}/revoke", {})
        began = time.monotonic()
        (end,) = await watch.rest()
        assert (end.event, end.data["reason"]) == ("end", "unauthorized")
        assert "revoked" in end.data["detail"]
        assert time.monotonic() - began < 5


async def test_an_expired_key_ends_its_watches(server: Served) -> None:
    from datetime import UTC, datetime, timedelta

    soon = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
    made = await call(server, "POST", "/keys", {"name": "short", "expires_at": soon})
    async with sse(server, key=made["key"], entity="sandboxes") as watch:
        (end,) = await watch.rest()
    assert (end.data["reason"], "expired" in end.data["detail"]) == ("unauthorized", True)


async def test_a_server_that_stops_says_so_and_does_not_wait_for_watchers(tmp_path: Path) -> None:
    server = await asyncio.to_thread(Served, tmp_path / "data")
    async with sse(server, entity="sandboxes") as one, websocket(server, entity="sandboxes") as two:
        mine = await create(server, "before")
        assert [t.data["id"] for t in await one.take(1) + await two.take(1)] == [mine, mine]
        began = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        assert [t.data["reason"] for t in await one.rest()] == ["stopping"]
        assert [t.data["reason"] for t in await two.rest()] == ["stopping"]
    assert await stopping == 0
    assert time.monotonic() - began < 10
    again = await asyncio.to_thread(Served, tmp_path / "data")
    try:
        async with sse(again, entity="sandboxes", last=one.last_id) as watch:
            later = await create(again, "after")
            assert [t.data["id"] for t in await watch.take(1)] == [later]
    finally:
        assert await asyncio.to_thread(again.stop) == 0


async def test_the_beginning_and_the_end_stand_in_the_audit(server: Served) -> None:
    async with sse(server, entity="projects"):
        pass
    wanted = quote('action = "watch" && resource_id = "projects"')

    def rows() -> Any:
        page = server.call("GET", f"/audit-logs?filter={wanted}").json["items"]
        return page if len(page) >= 2 else None

    found = await asyncio.to_thread(eventually, rows, "both rows")
    assert [row["error_message"] for row in found] == ["hung_up", None]
    assert found[0]["request_id"] == found[1]["request_id"]
    assert all(row["resource_type"] == "events" and row["actor"].startswith("key_") for row in found)


async def test_head_answers_without_a_body_and_other_methods_are_refused(server: Served) -> None:
    answer = await asyncio.to_thread(server.call, "HEAD", "/watch?entity=sandboxes")
    assert (answer.status, answer.body) == (200, b"")
    refused = await asyncio.to_thread(server.call, "POST", "/watch", {})
    assert refused.status == 405


# -- executions --------------------------------------------------------------------------------

COUNTS = "import time\nfor n in range(8):\n    print('line', n, flush=True)\n    time.sleep(0.12)\n"


async def test_others_attach_to_a_running_execution(server: Served) -> None:
    """One client runs it and waits; others, who learn of it by a watch, see what it prints and uses."""
    sandbox = await create(server, "attached")
    async with sse(
        server, entity="executions", filter=f'sandbox_id = "{sandbox}"', fields="id,status"
    ) as runs:
        running = asyncio.create_task(
            call(server, "POST", f"/sandboxes/{sandbox}/executions", {"code": COUNTS})
        )
        (begun,) = await runs.take(1)
        assert begun.data["record"]["status"] in ("running", "queued")
        parent = begun.data["id"]
        async with (
            sse(server, entity="execution_chunks", parent=parent) as early,
            websocket(server, entity="execution_chunks", parent=parent, filter='stream = "stdout"') as socket,
            sse(server, entity="resource_metrics", parent=parent) as samples,
        ):
            first = (await early.take(1))[0]
            assert not running.done(), "it was attached to while it ran"
            rest, over_socket, used = await early.rest(), await socket.rest(), await samples.rest()
        done = await running
        settled = (await runs.take(1))[-1]
    assert settled.data["record"]["status"] == "completed"
    assert rest[-1].data["reason"] == over_socket[-1].data["reason"] == used[-1].data["reason"] == "settled"
    assert socket.closed == 1000
    told = [first, *rest[:-1]]
    assert text_of(told) == text_of(over_socket[:-1]) == done["output"]["stdout"]
    assert [t.data["seq"] for t in told] == list(range(len(told)))
    assert [t.data["seq"] for t in used[:-1]] == list(range(len(used) - 1))
    assert used[0].data["record"]["execution_id"] == parent
    async with sse(server, entity="execution_chunks", parent=parent, last=told[2].id) as late:
        assert text_of((await late.rest())[:-1]) == text_of(told[3:])


def text_of(told: list[Any]) -> str:
    from base64 import b64decode

    return b"".join(b64decode(t.data["record"]["data"]) for t in told).decode()
