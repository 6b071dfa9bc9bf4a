"""A stream of events on the wire: as server-sent events, or over a WebSocket. docs/live.md is its manual.

The token comes with the handshake and nowhere else: in `Authorization`, or, for browsers,
whose WebSocket can set no header, as the sub-protocol `thane.bearer.<token>`. Nothing that
a client sends later is read. An end is told with its reason, and a client that does not
take even that within `GRACE_SECONDS` is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import msgspec

from thane.interfaces.http.asgi import Peer, Receive, Scope, Send, peer_of
from thane.interfaces.http.cors import origin_of
from thane.kernel.answers import encode
from thane.kernel.errors import Denied, Fault, Invalid
from thane.kernel.live.events import End, Event
from thane.kernel.operations.streams import STOPPING, Stream

PROTOCOL: Final = "thane.watch.v1"
BEARER: Final = "thane.bearer."
KEEP_ALIVE_SECONDS: Final = 15.0
GRACE_SECONDS: Final = 2.0
# RFC 6455: normal, going away, policy, internal error, try again later.
_CODES: Final = {"settled": 1000, STOPPING: 1001, "failed": 1011, "slow": 1013}
_POLICY: Final = 1008


class Out(Protocol):
    """One way of putting events on the wire."""

    async def start(self, ready: msgspec.Struct, position: str) -> None: ...

    async def events(self, events: list[Event]) -> None: ...

    def packed(self, event: Event) -> bytes:
        """The event as it goes over this connection's socket; equal for all who get it this way."""

    async def position(self, position: str) -> None: ...

    async def end(self, end: End) -> None: ...


class ServerSentEvents:
    """An event is `id`, `event` and one line of `data`; a position alone is an `id` without data."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers

    async def start(self, ready: msgspec.Struct, position: str) -> None:
        headers = [
            *self._headers,
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"x-accel-buffering", b"no"),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._body(b"id: %s\nevent: ready\ndata: %s\n\n" % (position.encode(), encode(ready)))

    async def events(self, events: list[Event]) -> None:
        await self._body(b"".join([event.once(_frame) for event in events]))

    def packed(self, event: Event) -> bytes:
        return event.once(_chunk)

    async def position(self, position: str) -> None:
        await self._body(b": keep-alive\nid: %s\n\n" % position.encode())

    async def end(self, end: End) -> None:
        # Without an id: the client resumes after the last event that it has.
        await self._body(b"event: end\ndata: %s\n\n" % encode(end), more=False)

    async def _body(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


class WebSocket:
    """An event is one JSON text: `{"event": …, "id": …, "data": …}`."""

    def __init__(self, send: Send, protocol: str | None, accepted: Callable[[], None]) -> None:
        self._send = send
        self._protocol = protocol
        self._accepted = accepted

    async def start(self, ready: msgspec.Struct, position: str) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": self._protocol})
        self._accepted()
        await self._say({"event": "ready", "id": position, "data": ready})

    async def events(self, events: list[Event]) -> None:
        for event in events:
            await self._send({"type": "websocket.send", "text": event.once(_message)})

    def packed(self, event: Event) -> bytes:
        return event.once(_message_frame)

    async def position(self, position: str) -> None:
        await self._say({"event": "position", "id": position})

    async def end(self, end: End) -> None:
        await self._say({"event": "end", "data": end})
        code = _CODES.get(end.reason, _POLICY)
        await self._send({"type": "websocket.close", "code": code, "reason": end.reason})

    async def _say(self, message: dict[str, Any]) -> None:
        await self._send({"type": "websocket.send", "text": encode(message).decode()})


def _frame(event: Event) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), event.name.encode(), event.data)


def _chunk(event: Event) -> bytes:
    """The frame as a chunk of an HTTP/1.1 body."""
    frame = event.once(_frame)
    return b"%x\r\n%s\r\n" % (len(frame), frame)


def _message(event: Event) -> str:
    # Ids and names are ours and need no escaping.
    return f'{{"event":"{event.name}","id":"{event.id}","data":{event.data.decode()}}}'


def _message_frame(event: Event) -> bytes:
    """The message as one text frame of a WebSocket from the server: unmasked, whole, not compressed."""
    payload = event.once(_message).encode()
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


# -- the stream's life -----------------------------------------------------------------------


async def pump(stream: Stream, out: Out, gone: Coroutine[Any, Any, None], scope: Scope) -> None:
    """Send until the stream is over or the client is gone. Raises what went wrong in between."""
    peer = peer_of(scope)
    if peer is not None:
        stream.at_once = _at_once(peer, out)
        peer.when_stalled(lambda: stream.drop("slow", "you took nothing of what was sent"))
    sending = asyncio.create_task(_send_all(stream, out))
    leaving = asyncio.create_task(gone)
    try:
        await asyncio.wait({sending, leaving, stream.dropped}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done() and not leaving.done():
            await asyncio.wait({sending}, timeout=GRACE_SECONDS)
            if not sending.done():
                if peer is not None:
                    peer.abort()
                await asyncio.wait({leaving}, timeout=GRACE_SECONDS)
        elif sending.done():
            with contextlib.suppress(OSError):  # the client hung up while something was sent
                sending.result()
    finally:
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send_all(stream: Stream, out: Out) -> None:
    loop = asyncio.get_running_loop()
    await out.start(stream.ready, stream.position)
    said_at = loop.time()
    while True:
        events = await stream.take()
        if events:
            await out.events(events)
        elif (end := stream.finished) is not None:
            await out.end(end)
            return
        elif loop.time() - said_at >= KEEP_ALIVE_SECONDS:
            await out.position(stream.position)
        else:
            continue
        said_at = loop.time()


def _at_once(peer: Peer, out: Out) -> Callable[[Sequence[Event]], bool]:
    """A thousand clients that want one event get it by a thousand writes of the same bytes."""

    def write(events: Sequence[Event]) -> bool:
        return peer.write_now(b"".join([out.packed(event) for event in events]))

    return write


async def hung_up(receive: Receive) -> None:
    """Return when the client of a request is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def socket_left(receive: Receive, stream: Stream) -> None:
    """Return when the client of a WebSocket is gone; one that sends a message is shown out."""
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.receive":
            stream.drop("message", "a watch reads no messages; all it needs comes with the handshake")


# -- the handshake ---------------------------------------------------------------------------


def refusal(send: Send) -> Send:
    """Sends an ordinary answer in place of a WebSocket's acceptance."""

    async def translated(message: Any) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return translated


def handshake(
    scope: Scope, headers: dict[bytes, bytes], may_watch: Callable[[Scope, bytes], bool]
) -> str | None:
    """The sub-protocol to answer with; a token among them becomes the request's `Authorization`.

    Denied for a page of another origin, Invalid for sub-protocols that make no sense.
    """
    origin = origin_of(scope)
    if origin is not None and not may_watch(scope, origin):
        raise Denied(
            f"a page from {origin.decode('latin-1')[:200]} may not watch here",
            hint="Serve the page from the address of the API, or name its origin in `http.cors_origins`.",
        )
    offered: list[str] = list(scope.get("subprotocols") or ())
    tokens = [name.removeprefix(BEARER) for name in offered if name.startswith(BEARER)]
    if len(tokens) > 1 or (tokens and b"authorization" in headers):
        raise _wrong("one token is enough: in Authorization, or as one sub-protocol")
    if tokens:
        headers[b"authorization"] = b"Bearer " + tokens[0].encode("latin-1", "replace")
    if offered and PROTOCOL not in offered:
        raise _wrong(f"offer {PROTOCOL} too, which is what the answer names; the token is never repeated")
    return PROTOCOL if offered else None


def _wrong(detail: str) -> Invalid:
    return Invalid(detail, faults=(Fault("/Sec-WebSocket-Protocol", "value", detail),))
