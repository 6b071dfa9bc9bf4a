"""A stream of events on the wire: as server-sent events, or over a WebSocket. docs/live.md is its manual.

The token comes with the handshake and nowhere else: in `Authorization`, or, for browsers,
whose WebSocket can set no header, as the sub-protocol `thane.bearer.<token>`. Nothing that
a client sends later is read. An end is told with its reason, and a client that does not
take even that within `GRACE_SECONDS` is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from thane.interfaces.http.asgi import Receive, Scope, Send
from thane.kernel.answers import encode
from thane.kernel.errors import Denied, Fault, Invalid
from thane.kernel.live.events import End, Event
from thane.kernel.operations.streams import STOPPING, Stream

PROTOCOL: Final = "thane.watch.v1"
BEARER: Final = "thane.bearer."
KEEP_ALIVE_SECONDS: Final = 15.0
GRACE_SECONDS: Final = 2.0
# In the scope's state: cuts the connection off, whatever waits in it. Set by `server.py`.
ABORT: Final = "thane.abort"
# RFC 6455: normal, going away, policy, internal error, try again later.
_CODES: Final = {"settled": 1000, STOPPING: 1001, "failed": 1011, "slow": 1013}
_POLICY: Final = 1008


class Out(Protocol):
    """One way of putting events on the wire."""

    async def start(self, ready: msgspec.Struct, position: str) -> None: ...

    async def events(self, events: list[Event]) -> None: ...

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


def _message(event: Event) -> str:
    # Ids and names are ours and need no escaping.
    return f'{{"event":"{event.name}","id":"{event.id}","data":{event.data.decode()}}}'


# -- the stream's life -----------------------------------------------------------------------


async def pump(stream: Stream, out: Out, gone: Coroutine[Any, Any, None], scope: Scope) -> None:
    """Send until the stream is over or the client is gone. Raises what went wrong in between."""
    sending = asyncio.create_task(_send_all(stream, out))
    leaving = asyncio.create_task(gone)
    try:
        await asyncio.wait({sending, leaving, stream.dropped}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done() and not leaving.done():
            await asyncio.wait({sending}, timeout=GRACE_SECONDS)
            if not sending.done():
                _cut_off(scope)
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


def _cut_off(scope: Scope) -> None:
    abort = scope.get("state", {}).get(ABORT)
    if abort is not None:
        abort()


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


def handshake(scope: Scope, headers: dict[bytes, bytes]) -> str | None:
    """The sub-protocol to answer with; a token among them becomes the request's `Authorization`.

    Denied for a page of another origin, Invalid for sub-protocols that make no sense.
    """
    _check_origin(scope)
    offered: list[str] = list(scope.get("subprotocols") or ())
    tokens = [name.removeprefix(BEARER) for name in offered if name.startswith(BEARER)]
    if len(tokens) > 1 or (tokens and b"authorization" in headers):
        raise _wrong("one token is enough: in Authorization, or as one sub-protocol")
    if tokens:
        headers[b"authorization"] = b"Bearer " + tokens[0].encode("latin-1", "replace")
    if offered and PROTOCOL not in offered:
        raise _wrong(f"offer {PROTOCOL} too, which is what the answer names; the token is never repeated")
    return PROTOCOL if offered else None


def _check_origin(scope: Scope) -> None:
    """Browsers name the page's origin. What other origins may not fetch, they may not watch."""
    found = {name: value for name, value in scope["headers"] if name in (b"origin", b"host")}
    origin = found.get(b"origin")
    if origin is None:
        return
    if urlsplit(origin.decode("latin-1")).netloc.lower() != found.get(b"host", b"").decode("latin-1").lower():
        raise Denied(
            f"a page from {origin.decode('latin-1')[:200]} may not watch here",
            hint="Serve the page from the address of the API, or watch from a server of your own.",
        )


def _wrong(detail: str) -> Invalid:
    return Invalid(detail, faults=(Fault("/Sec-WebSocket-Protocol", "value", detail),))
