"""A stream on the wire: the frames, the moment that a slow client has, and what is cut off after it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

from tests.kernel.jobs.world import until
from thane.interfaces.http import live
from thane.interfaces.http.asgi import PEER
from thane.interfaces.http.live import ServerSentEvents, WebSocket, pump
from thane.kernel.live.events import End, Event, Ready

Message = Mapping[str, Any]


class Fake:
    """A stream that gives what it is told to."""

    about = "notes"

    def __init__(self, *batches: list[Event]) -> None:
        self.dropped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.at_once: Callable[[Sequence[Event]], bool] | None = None
        self.batches = list(batches)
        self.over: End | None = None
        self.closed = False

    @property
    def ready(self) -> msgspec.Struct:
        return Ready(entity="notes", position="7")

    position = "7"

    @property
    def finished(self) -> End | None:
        return None if self.batches else self.over

    @property
    def reason(self) -> str | None:
        return None if self.over is None else self.over.reason

    async def take(self) -> list[Event]:
        await asyncio.sleep(0)
        return self.batches.pop(0) if self.batches else []

    def drop(self, reason: str, detail: str) -> None:
        if not self.dropped.done():
            self.over = End(reason=reason, detail=detail)
            self.batches.clear()
            self.dropped.set_result(None)

    def close(self) -> None:
        self.closed = True


EVENT = Event("update", "8.0", b'{"index":8}')


async def never() -> None:
    await asyncio.Event().wait()


async def test_server_sent_events_are_as_the_specification_says() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    stream = Fake([EVENT], [EVENT, EVENT])
    stream.over = End(reason="settled", detail="all was sent")
    await pump(stream, ServerSentEvents(send, [(b"x", b"y")]), never(), {})
    assert sent[0]["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in sent[0]["headers"]
    one = b'id: 8.0\nevent: update\ndata: {"index":8}\n\n'
    assert b"".join(m["body"] for m in sent[1:]) == (
        b'id: 7\nevent: ready\ndata: {"entity":"notes","position":"7"}\n\n'
        + one * 3
        + b'event: end\ndata: {"reason":"settled","detail":"all was sent"}\n\n'
    )
    assert [m["more_body"] for m in sent[1:]] == [True] * 3 + [False]


async def test_a_quiet_stream_is_kept_alive_with_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEEP_ALIVE_SECONDS", 0.01)
    for make, told in (
        (lambda send: ServerSentEvents(send, []), b": keep-alive\nid: 7\n\n"),
        (lambda send: WebSocket(send, None, lambda: None), '{"event":"position","id":"7"}'),
    ):
        sent: list[Any] = []

        async def send(message: Message, sent: list[Any] = sent) -> None:
            sent.append(message.get("body", message.get("text")))

        stream = Fake()
        pumping = asyncio.create_task(pump(stream, make(send), never(), {}))
        await until(lambda sent=sent, told=told: sent.count(told) >= 2)  # type: ignore[misc]
        stream.drop("stopping", "")
        await pumping
        assert sent.count(told) >= 2


async def test_a_websocket_is_closed_with_a_code_that_tells_why() -> None:
    for reason, code in (("settled", 1000), ("stopping", 1001), ("slow", 1013), ("unauthorized", 1008)):
        sent: list[Message] = []

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        stream = Fake([EVENT])
        stream.over = End(reason=reason, detail="")
        await pump(stream, WebSocket(send, "thane.watch.v1", lambda: None), never(), {})
        assert [m["type"] for m in sent] == ["websocket.accept", *["websocket.send"] * 3, "websocket.close"]
        assert sent[0]["subprotocol"] == "thane.watch.v1"
        assert sent[2]["text"] == '{"event":"update","id":"8.0","data":{"index":8}}'
        assert (sent[-1]["code"], sent[-1]["reason"]) == (code, reason)


class FakePeer:
    """A connection that takes what is written at once, while `writable`."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.writable = True
        self.tell: Callable[[], None] | None = None

    def write_now(self, data: bytes) -> bool:
        if self.writable:
            self.written.append(data)
        return self.writable

    def when_stalled(self, tell: Callable[[], None]) -> None:
        self.tell = tell


async def test_who_waits_is_given_an_event_at_once_framed_as_its_connection_has_it() -> None:
    async def send(message: Message) -> None:
        await asyncio.sleep(0)

    async def text(size: int) -> tuple[bytes, bytes]:
        event = Event("create", "7.0", b'"' + b"x" * size + b'"')
        peers = FakePeer(), FakePeer()
        outs: tuple[live.Out, live.Out] = ServerSentEvents(send, []), WebSocket(send, None, lambda: None)
        for peer, out in zip(peers, outs, strict=True):
            stream = Fake()
            pumping = asyncio.create_task(pump(stream, out, never(), {"state": {PEER: peer}}))
            await until(lambda stream=stream: stream.at_once is not None)  # type: ignore[misc]
            assert stream.at_once is not None
            assert stream.at_once([event])
            peer.writable = False
            assert not stream.at_once([event])
            assert peer.tell is not None
            peer.tell()
            await pumping
            assert stream.over is not None
            assert stream.over.reason == "slow"
        return peers[0].written[0], peers[1].written[0]

    for size in (1, 300, 70_000):
        chunk, frame = await text(size)
        length, _, rest = chunk.partition(b"\r\n")
        assert int(length, 16) == len(rest) - 2
        assert rest.startswith(b'id: 7.0\nevent: create\ndata: "x')
        client = Connection(ConnectionType.CLIENT)
        client.receive_data(frame)
        (message,) = client.events()
        assert isinstance(message, TextMessage)
        assert message.message_finished
        assert msgspec.json.decode(message.data)["data"] == "x" * size


async def test_a_client_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "GRACE_SECONDS", 0.05)
    blocked, gone = asyncio.Event(), asyncio.Event()
    cut: list[bool] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            blocked.set()
            await asyncio.Event().wait()

    class Cut(FakePeer):
        def abort(self) -> None:
            cut.append(True)
            gone.set()

    async def leaves() -> None:
        await gone.wait()

    stream = Fake([EVENT])
    scope = {"state": {PEER: Cut()}}
    pumping = asyncio.create_task(pump(stream, ServerSentEvents(send, []), leaves(), scope))
    await asyncio.wait_for(blocked.wait(), 10)
    stream.drop("slow", "")
    await asyncio.wait_for(pumping, 10)
    assert cut == [True]


async def test_a_hang_up_ends_it_and_a_defect_is_raised() -> None:
    async def gone() -> None:
        return

    async def silent(message: Message) -> None:
        await asyncio.sleep(0)

    await asyncio.wait_for(pump(Fake(), ServerSentEvents(silent, []), gone(), {}), 10)

    async def hangs_up(message: Message) -> None:
        raise ConnectionResetError

    await asyncio.wait_for(pump(Fake([EVENT]), ServerSentEvents(hangs_up, []), never(), {}), 10)

    async def breaks(message: Message) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), contextlib.suppress(OSError):
        await asyncio.wait_for(pump(Fake([EVENT]), ServerSentEvents(breaks, []), never(), {}), 10)
