"""A real server on TCP and on a unix socket, and the caller the CLI uses, both ways."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.kernel.operations.house import House
from tests.kernel.operations.notes import Deed
from thane.interfaces import sockets
from thane.interfaces.http import connection as connections
from thane.interfaces.http.app import HttpApp
from thane.interfaces.http.server import HttpServer
from thane.interfaces.local import Caller, InProcess, UnixSocket
from thane.kernel.errors import ConnectionFailed, PortInUse, SettingsError


@pytest.fixture
async def app(house: House) -> HttpApp:
    return HttpApp(house.pipeline)


@pytest.fixture(params=["in process", "socket", "long path"])
async def caller(request: Any, app: HttpApp, tmp_path: Path) -> AsyncIterator[Caller]:
    if request.param == "in process":
        yield InProcess(app)
        return
    folder = tmp_path / ("x" * 120 if request.param == "long path" else "s")
    folder.mkdir()
    server = HttpServer(app, drain_seconds=1)
    await server.start_unix(folder / "thane.sock")
    yield UnixSocket(folder / "thane.sock")
    await server.stop()
    assert not (folder / "thane.sock").exists()


async def test_the_caller_acts_as_the_owner_both_ways(caller: Caller, house: House) -> None:
    made = await caller.call("POST", "/api/v1/notes", {"title": "Milk"}, headers={"Idempotency-Key": "k1"})
    assert (made.status, made.headers["etag"]) == (201, '"1"')
    assert (await house.entries())[0]["actor"] == ["usr_1", "key_1"]
    listed = await caller.call("GET", "/api/v1/notes?limit=5")
    assert [n["title"] for n in listed.body["items"]] == ["Milk"]
    refused = await caller.call("POST", "/api/v1/notes", {"title": ""})
    assert (refused.status, refused.body["code"]) == (422, "invalid")
    gone = await caller.call("DELETE", f"/api/v1/notes/{made.body['id']}")
    assert (gone.status, gone.body) == (204, None)
    with pytest.raises(ValueError, match="line break"):
        await caller.call("GET", "/api/v1/notes", headers={"X": "a\r\nb"})


async def test_the_caller_streams_both_ways(caller: Caller) -> None:
    heard: list[tuple[str, Any]] = []
    got = await caller.call(
        "POST", "/api/v1/deeds", {"what": "dig"}, on_event=lambda name, data: heard.append((name, data))
    )
    assert (got.status, got.body["outcome"]) == (200, "completed")
    assert [(name, data["text"]) for name, data in heard] == [("output", "begun"), ("output", "ended")]
    refused = await caller.call("POST", "/api/v1/deeds", {"what": "forbidden"}, on_event=lambda *_: None)
    assert refused.status == 404


async def test_a_stream_that_fails_answers_with_its_problem(caller: Caller, house: House) -> None:
    house.world.settle_fails = OSError("no")
    (house.folder / "spool").write_text("no folder")
    got = await caller.call("POST", "/api/v1/deeds", {"what": "dig"}, on_event=lambda *_: None)
    assert (got.status, got.body["code"]) == (507, "outcome_unrecorded")


async def test_cancelling_the_caller_hangs_up(caller: Caller, house: House) -> None:
    house.world.go.clear()
    asked = asyncio.create_task(
        caller.call("POST", "/api/v1/deeds", {"what": "dig"}, on_event=lambda *_: None)
    )
    await house.world.begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    while house.pipeline.effects.under_way:
        await asyncio.sleep(0.005)
    assert [d.status for d in await house.records.across(Deed)] == ["cancelled"]


async def test_nobody_listening_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="nobody answers"):
        await UnixSocket(tmp_path / "none.sock").call("GET", "/")
    assert not sockets.is_listening(tmp_path / "none.sock")


async def test_the_socket_is_its_owners(
    app: HttpApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HttpServer(app, drain_seconds=1)
    path = tmp_path / "thane.sock"
    path.write_text("left by a dead owner")
    await server.start_unix(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sockets.is_listening(path)
    monkeypatch.setattr(connections, "peer_uid", lambda descriptor: os.geteuid() + 1)
    with pytest.raises(ConnectionFailed):
        await UnixSocket(path).call("GET", "/health")
    await server.stop()


async def test_tcp_asks_for_a_key_and_a_taken_port_is_told(app: HttpApp) -> None:
    server = HttpServer(app, drain_seconds=1)
    host, port = await server.start_tcp("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /api/v1/notes HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"401"
    writer.close()
    await writer.wait_closed()
    with pytest.raises(PortInUse):
        await HttpServer(app).start_tcp("127.0.0.1", port)
    with pytest.raises(SettingsError):
        sockets.listen_tcp("no.such.host.invalid", 0)
    with pytest.raises(SettingsError):
        sockets.listen_tcp("192.0.2.1", 0)
    await server.stop()


async def test_a_head_without_end_is_cut_off(app: HttpApp) -> None:
    server = HttpServer(app, drain_seconds=1)
    host, port = await server.start_tcp("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\n")
    for i in range(100):
        writer.write(b"x-%d: %s\r\n" % (i, b"y" * 1000))
    writer.write(b"\r\n")
    assert (await reader.readline()).split()[1] == b"431"
    writer.close()
    await server.stop()


def test_the_servers_own_loop_and_the_peers_user_fit(tmp_path: Path) -> None:
    """uvloop's transports give out no real socket; the check of the peer must not depend on one."""

    async def main() -> None:
        house = await House.build(tmp_path)
        server = HttpServer(HttpApp(house.pipeline), drain_seconds=1)
        await server.start_unix(tmp_path / "thane.sock")
        got = await UnixSocket(tmp_path / "thane.sock").call("GET", "/health")
        assert got.body["status"] == "ok"
        await server.stop()
        await house.close()

    uvloop.run(main())


async def test_a_stop_answers_what_was_asked(app: HttpApp, house: House, tmp_path: Path) -> None:
    house.world.go.clear()
    server = HttpServer(app, drain_seconds=5)
    path = tmp_path / "thane.sock"
    await server.start_unix(path)
    asked = asyncio.create_task(UnixSocket(path).call("POST", "/api/v1/deeds", {"what": "dig"}))
    await house.world.begun.wait()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.05)
    house.world.go.set()
    assert (await asked).status == 201
    await stopping


def test_a_short_path_stays_as_it_is(tmp_path: Path) -> None:
    with sockets.short_path(Path("/tmp/s")) as name:
        assert name == "/tmp/s"
    deep = tmp_path / ("y" * 120)
    deep.mkdir()
    with sockets.short_path(deep / "s") as name, socket.socket(socket.AF_UNIX) as one:
        one.bind(name)
    assert (deep / "s").is_socket()
