"""What one client may cost: every bound of a connection, seen from the client's end of a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, cast

import pytest

from tests.kernel.jobs.world import until
from tests.kernel.operations.house import House, KnownKeys
from tests.kernel.operations.notes import Deed, Note
from thane.interfaces.http import connection as connections
from thane.interfaces.http.admission import Admission
from thane.interfaces.http.app import HttpApp
from thane.interfaces.http.connection import Bounds
from thane.interfaces.http.server import HttpServer
from thane.kernel.errors import HeadTooLarge, Malformed, RequestTimeout, Unavailable
from thane.kernel.ports.identity import Identified

BOUND = 20.0
SOON = 0.2
GET = b"GET /api/v1/notes HTTP/1.1\r\nhost: x\r\nauthorization: Bearer owner\r\n"
POST = GET.replace(b"GET", b"POST") + b"content-type: application/json\r\n"
DEED = POST.replace(b"/notes", b"/deeds")


class Heard(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.body)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def answer(self) -> Heard:
        async with asyncio.timeout(BOUND):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Heard(int(status.split()[1]), headers, body)

    async def closed(self) -> bool:
        """Whether the server hangs up without another word."""
        async with asyncio.timeout(BOUND):
            with suppress(ConnectionError):
                return await self.reader.read() == b""
        return True


class Place(NamedTuple):
    server: HttpServer
    port: int

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


Serve = Callable[..., Awaitable[Place]]


@pytest.fixture
async def serve(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Serves the house within bounds; looks at its connections often."""
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(connections, "LINGER_SECONDS", SOON)
    monkeypatch.setattr(connections, "LISTENS_SECONDS", SOON)
    running: list[HttpServer] = []

    async def start(options: dict[str, Any] | None = None, drain: int = 1, **bounds: float) -> Place:
        app = HttpApp(house.pipeline, **(options or {}))
        made = {name: int(v) if name in ("connections", "head_bytes") else v for name, v in bounds.items()}
        server = HttpServer(app, drain_seconds=drain, bounds=Bounds(**made))  # type: ignore[arg-type]
        running.append(server)
        _, port = await server.start_tcp("127.0.0.1", 0)
        return Place(server, port)

    yield start
    for server in running:
        await server.stop()


class Gate:
    """Holds every look at a key up until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.come = 0
        self.gone = 0
        inner = KnownKeys.identify

        async def identify(keys: KnownKeys, bearer: str) -> Identified:
            self.come += 1
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.gone += 1
                raise
            return await inner(keys, bearer)

        monkeypatch.setattr(KnownKeys, "identify", identify)


# -- time ------------------------------------------------------------------------------------


async def test_a_head_that_does_not_end_in_time_is_told_so(serve: Serve) -> None:
    place = await serve(head_seconds=SOON)
    async with place.client() as client:
        client.say(b"GET /api/v1/notes HTTP/1.1\r\nx-slow: ")
        heard = await client.answer()
        assert (heard.status, heard.problem["code"]) == (408, RequestTimeout.code)
        assert heard.headers["connection"] == "close"
        assert await client.closed()


async def test_a_head_that_drips_has_no_more_time_than_another(serve: Serve) -> None:
    place = await serve(head_seconds=SOON)
    async with place.client() as client:
        client.say(b"GET /api/v1/notes HTTP/1.1\r\n")
        answer = asyncio.create_task(client.answer())
        while not answer.done():
            client.say(b"x-a: b\r\n")
            await asyncio.wait({answer}, timeout=0.02)
        assert (await answer).status == 408


async def test_a_body_that_drips_is_told_so_and_nothing_is_done(serve: Serve, house: House) -> None:
    place = await serve(body_seconds=SOON)
    async with place.client() as client:
        client.say(POST, b"content-length: 1000\r\n\r\n{")
        answer = asyncio.create_task(client.answer())
        while not answer.done():
            client.say(b" ")
            await asyncio.wait({answer}, timeout=0.02)
        assert (await answer).status == 408
        assert await client.closed()
    assert await house.records.across(Note) == []


@pytest.mark.parametrize("asked", [False, True], ids=["which said nothing", "after an answer"])
async def test_an_idle_connection_is_closed_in_silence(serve: Serve, asked: bool) -> None:
    place = await serve(idle_seconds=SOON)
    async with place.client() as client:
        if asked:
            client.say(GET, b"\r\n")
            assert (await client.answer()).status == 200
        assert await client.closed()


async def test_a_request_at_work_is_not_idle(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    place = await serve(idle_seconds=SOON, head_seconds=SOON, body_seconds=SOON, send_seconds=SOON)
    gate = Gate(monkeypatch)
    async with place.client() as other, place.client() as client:
        client.say(GET, b"\r\n")
        await until(lambda: gate.come == 1)
        assert await other.closed()  # so long has passed
        gate.open.set()
        assert (await client.answer()).status == 200


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(serve: Serve) -> None:
    place = await serve({"metrics": lambda: b"x" * 50_000_000}, send_seconds=SOON)
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", place.port))
        one.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: place.server._app.admission.not_taken > 0)
        await until(lambda: not place.server._connections())
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while data := one.recv(1 << 20):
                taken += len(data)
        assert taken < 50_000_000, "it was cut off before it had all"


async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(serve: Serve) -> None:
    size = 20_000_000
    place = await serve({"metrics": lambda: b"x" * size}, send_seconds=SOON)
    async with place.client() as client:
        client.say(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        taken = 0
        while taken < size:
            taken += len(await client.reader.readexactly(min(size - taken, 1_000_000)))
            await asyncio.sleep(0.02)  # it takes its time: longer in all than anyone may take nothing


# -- size and number -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"a" * 2000),
        b"GET / HTTP/1.1\r\nx: %s\r\n\r\n" % (b"y" * 2000),
        b"GET / HTTP/1.1\r\n%s\r\n" % (b"a:\r\n" * 100),
    ],
    ids=["path", "header", "many empty headers"],
)
async def test_a_head_has_its_bound(serve: Serve, head: bytes) -> None:
    place = await serve(head_bytes=1024)
    async with place.client() as client:
        client.say(head)
        heard = await client.answer()
        assert (heard.status, heard.problem["code"]) == (431, HeadTooLarge.code)
        assert await client.closed()


async def test_what_is_no_http_is_told_so(serve: Serve) -> None:
    place = await serve()
    async with place.client() as client:
        client.say(b"\x16\x03\x01 hello\r\n\r\n")
        heard = await client.answer()
        assert (heard.status, heard.problem["code"]) == (400, Malformed.code)


async def test_one_connection_too_many_is_told_so_and_finds_room_later(serve: Serve) -> None:
    place = await serve(connections=2)
    async with place.client() as first, place.client() as second:
        for client in (first, second):
            client.say(GET, b"\r\n")
            assert (await client.answer()).status == 200
        async with place.client() as third:
            third.say(GET, b"\r\n")
            heard = await third.answer()
            assert (heard.status, heard.problem["code"]) == (503, Unavailable.code)
            assert int(heard.headers["retry-after"]) >= 1
            assert await third.closed()
    await until(lambda: not place.server._connections())
    async with place.client() as fourth:
        fourth.say(GET, b"\r\n")
        assert (await fourth.answer()).status == 200


async def test_a_crowd_that_is_too_many_is_shown_out_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LEAVING", 0)
    place = await serve(connections=1)
    async with place.client() as first:
        first.say(GET, b"\r\n")
        assert (await first.answer()).status == 200
        async with place.client() as second:
            assert (await second.answer()).status == 503
            assert len(place.server._connections()) == 1


# -- halves of connections -------------------------------------------------------------------


async def test_who_has_sent_all_and_still_listens_is_answered(serve: Serve) -> None:
    place = await serve()
    async with place.client() as client:
        client.say(GET, b"\r\n", GET, b"\r\n")
        client.writer.write_eof()
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        assert await client.closed()


async def test_half_a_request_and_no_more_is_no_request(serve: Serve, house: House) -> None:
    place = await serve()
    for said in (b"", b"GET / HT", POST + b"content-length: 100\r\n\r\n{"):
        async with place.client() as client:
            client.say(said)
            client.writer.write_eof()
            assert await client.closed()
    assert await house.records.across(Note) == []


async def test_who_ends_half_of_an_effects_connection_has_hung_up(serve: Serve, house: House) -> None:
    body = b'content-length: 14\r\n\r\n{"what":"dig"}'
    place = await serve()
    house.world.go.clear()
    for begun in (True, False):
        async with place.client() as client:
            client.say(DEED, body)
            if begun:
                await house.world.begun.wait()
            client.writer.write_eof()
            assert await client.closed()
            await until(lambda: not house.pipeline.effects.under_way)
    # The second may have hung up before anything was begun, or just after.
    first, *others = [d.status for d in await house.records.across(Deed)]
    assert first == "cancelled"
    assert set(others) <= {"cancelled", "failed"}


# -- hanging up ------------------------------------------------------------------------------


async def test_a_read_that_nobody_waits_for_any_more_ends(
    serve: Serve, house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = await serve()
    gate = Gate(monkeypatch)
    async with place.client() as client:
        client.say(GET, b"\r\n")
        await until(lambda: gate.come == 1)
    await until(lambda: gate.gone == 1)
    await until(lambda: not place.server._connections())
    assert not [r for r in caplog.records if r.levelname == "ERROR"]
    gate.open.set()
    rows = [(r.status, r.code) for r in await house.access()]
    assert (499, "hung_up") in rows


async def test_a_change_that_was_begun_is_finished(
    serve: Serve, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await serve()
    gate = Gate(monkeypatch)
    async with place.client() as client:
        client.say(POST, b'content-length: 16\r\n\r\n{"title":"Milk"}')
        await until(lambda: gate.come == 1)
        cast("asyncio.Transport", client.writer.transport).abort()
    gate.open.set()
    while [n.title for n in await house.records.across(Note)] != ["Milk"]:
        await asyncio.sleep(0.005)
    assert gate.gone == 0


# -- overload --------------------------------------------------------------------------------


async def test_beyond_those_at_work_and_those_that_wait_the_answer_is_503(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await serve({"admission": Admission(at_work=1, waiting=1)})
    gate = Gate(monkeypatch)
    async with place.client() as first, place.client() as second, place.client() as third:
        first.say(GET, b"\r\n")
        await until(lambda: gate.come == 1)
        second.say(GET, b"\r\n")
        await until(lambda: len(place.server._app.admission._waiting) == 1)
        third.say(GET, b"\r\n")
        heard = await third.answer()
        assert (heard.status, heard.problem["code"]) == (503, Unavailable.code)
        assert heard.problem["retryable"]
        assert int(heard.headers["retry-after"]) >= 1
        gate.open.set()
        assert [(await c.answer()).status for c in (first, second)] == [200, 200]
        third.say(GET, b"\r\n")  # on the same connection
        assert (await third.answer()).status == 200


async def test_who_waits_and_hangs_up_makes_room(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    admission = Admission(at_work=1, waiting=1)
    place = await serve({"admission": admission})
    gate = Gate(monkeypatch)
    async with place.client() as first:
        first.say(GET, b"\r\n")
        await until(lambda: gate.come == 1)
        async with place.client() as second:
            second.say(GET, b"\r\n")
            await until(lambda: len(admission._waiting) == 1)
        await until(lambda: not admission._waiting)
        gate.open.set()
        assert (await first.answer()).status == 200
    assert gate.come == 1, "the second never began"


async def test_bodies_have_a_bound_together(serve: Serve, house: House) -> None:
    admission = Admission(buffered_bytes=300_000)
    place = await serve({"admission": admission})
    body = b'{"title":"Milk"' + b" " * 199_984 + b"}"
    async with place.client() as first, place.client() as second:
        first.say(POST, b"content-length: 200000\r\n\r\n", body[:190_000])
        await until(lambda: admission._held > 100_000)
        second.say(POST, b"content-length: 200000\r\n\r\n", body[:190_000])
        assert (await second.answer()).status == 503
        first.say(body[190_000:])
        assert (await first.answer()).status == 201
    await until(lambda: admission._held == 0)


async def test_answers_that_nobody_takes_count_too(serve: Serve) -> None:
    admission = Admission(buffered_bytes=1_000_000)
    place = await serve({"admission": admission, "metrics": lambda: b"x" * 50_000_000})
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", place.port))
        one.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: admission.not_taken > 1_000_000)
        async with place.client() as client:
            client.say(GET, b"\r\n")
            assert (await client.answer()).status == 503
    await until(lambda: admission.not_taken == 0)


async def test_a_place_that_is_given_to_who_has_gone_is_given_on() -> None:
    admission = Admission(at_work=1, waiting=2)
    await admission.enter()
    waiting = [asyncio.create_task(admission.enter()) for _ in range(2)]
    await asyncio.sleep(0)
    admission.leave()
    waiting[0].cancel()  # in the turn in which it was given its place
    await asyncio.gather(*waiting, return_exceptions=True)
    assert waiting[0].cancelled()
    assert waiting[1].done()
    assert not waiting[1].cancelled()
    admission.leave()
    async with asyncio.timeout(BOUND):
        await admission.enter()


# -- the end ---------------------------------------------------------------------------------


async def test_a_stop_waits_for_nobody_longer_than_its_limit(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for half a request, nor for a client that takes nothing, nor for an idle one."""
    place = await serve({"metrics": lambda: b"x" * 50_000_000}, drain=1)
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", place.port))
        one.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: place.server._app.admission.not_taken > 0)
        async with place.client() as half, place.client() as idle:
            half.say(POST, b"content-length: 100\r\n\r\n{")
            idle.say(GET, b"\r\n")
            assert (await idle.answer()).status == 200
            async with asyncio.timeout(BOUND):
                await place.server.stop()
            assert await idle.closed()
            assert (await half.answer()).status == 503
            assert await half.closed()
