"""One connection: what a client may cost before, during and after its request. uvicorn does the rest.

A connection is idle, sends a head, sends a body, waits for its answer, or takes it; each
but the waiting has a time (`Bounds`), looked at once a second by `Edge`, so that a request
pays nothing for it but an addition. What is refused here never reaches the application.
Nothing here knows an operation.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from thane.interfaces.http.admission import Admission
from thane.interfaces.http.asgi import PEER
from thane.interfaces.http.onewrite import OneWriteProtocol
from thane.interfaces.http.problem import CONTENT_TYPE, problem_headers, problem_of
from thane.interfaces.sockets import peer_uid
from thane.kernel.errors import HeadTooLarge, Malformed, RequestTimeout, ThaneError, Unavailable

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 1.0
# What a header costs beside its bytes: many empty ones must not fill the memory either.
HEADER_COST: Final = 32
# A client that was refused may still send what it had begun; so it reads the refusal before the reset.
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1 << 20
# So many connections beyond the bound are refused in that friendly way; the others at once.
LEAVING: Final = 256
# The end of what a client sends is how a socket looks that was closed, and one that only was half
# closed. So long its reader is believed to listen; who waits longer for a read has gone.
LISTENS_SECONDS: Final = 2.0
FOR_EVER: Final = float("inf")
# Of `struct tcp_info`: bytes that the other side has acknowledged (Linux 4.1).
_ACKED: Final = struct.Struct("=Q")
_ACKED_AT: Final = 120


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may take, and how many there may be (`http.*` in the settings)."""

    connections: int = 12_000
    head_bytes: int = 64 * 1024
    head_seconds: float = 10
    body_seconds: float = 60
    send_seconds: float = 30
    idle_seconds: float = 30


class Edge:
    """What the connections of one server share: the bounds, a coarse clock, and the look at all of them."""

    def __init__(
        self, bounds: Bounds, admission: Admission, request_id: Callable[[], str],
        counted: Callable[[str, int], None] | None = None,
    ) -> None:  # fmt: skip
        self.bounds = bounds
        self.now = 0.0
        self._admission = admission
        self._request_id = request_id
        self._counted = counted

    def refusal(self, error: ThaneError) -> bytes:
        """A whole answer for a request that has not become one."""
        if self._counted is not None:
            self._counted("-", error.status)
        request_id = self._request_id()
        body = msgspec.json.encode(problem_of(error, request_id))
        headers = [
            *problem_headers(error),
            (b"content-type", CONTENT_TYPE),
            (b"content-length", b"%d" % len(body)),
            (b"thane-request-id", request_id.encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return STATUS_LINE[error.status] + lines + b"\r\n" + body

    async def sweep(self, connections: Callable[[], set[Any]]) -> None:
        """Look at every connection once a second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self.now = loop.time()
            waiting = 0
            for connection in tuple(connections()):
                waiting += connection.look(self.now)
            self._admission.not_taken = waiting
            await asyncio.sleep(SWEEP_SECONDS)


class EdgeConfig(Config):
    """uvicorn's configuration, which every protocol is given, with the edge in it."""

    edge: Edge


class _Taking:
    """How far a client is with taking what is written to it."""

    __slots__ = ("_acked", "_due", "_transport", "stalled")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._acked = -1
        self._due = FOR_EVER
        # Asked instead of cutting off; a stream tells its client why.
        self.stalled: Callable[[], None] | None = None

    def look(self, now: float, seconds: float) -> int:
        """Bytes that wait for the client; it is cut off if it has taken none for so many seconds."""
        size = self._transport.get_write_buffer_size()
        if size == 0:
            self._acked, self._due = -1, FOR_EVER
        elif (acked := _acknowledged(self._transport)) != self._acked:
            self._acked, self._due = acked, now + seconds
        elif now > self._due:
            self._due = FOR_EVER
            if self.stalled is not None:
                self.stalled()
            else:
                self._transport.abort()
        return size


def _acknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the other side has taken; of a unix socket nothing is known, and its owner is trusted."""
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as one:
        if one.family == socket.AF_UNIX:
            return -2
        raw = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + _ACKED.size)
    return int(_ACKED.unpack_from(raw, _ACKED_AT)[0]) if len(raw) >= _ACKED_AT + _ACKED.size else -2


class Connection(OneWriteProtocol):
    """HTTP/1.1 within the bounds. It is the `Peer` (`asgi.py`) of its requests."""

    config: EdgeConfig
    _head = 0
    _due = FOR_EVER
    _listens_until = FOR_EVER
    _reading = False
    _taking: _Taking
    # The task that works for this client alone: it is cancelled when the client is gone.
    alone: asyncio.Task[Any] | None = None
    is_gone = False
    # Whether the end of what a client sends is its end: so for executions and streams, which only
    # a client that listens wants. Everyone else is answered.
    end_is_gone = False
    has_ended = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.edge = self.config.edge
        self._taking = _Taking(transport)
        self.app_state = {**self.app_state, PEER: self}
        self._due = self.edge.now + self.edge.bounds.idle_seconds
        over = len(self.connections) - self.edge.bounds.connections
        if over > 0:
            error = Unavailable(f"{self.edge.bounds.connections} connections are open here", retry_after=1)
            if over <= LEAVING:
                self._farewell(error)
            else:
                transport.write(self.edge.refusal(error))
                transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        super().connection_lost(exc)
        if self.alone is not None:
            self.alone.cancel()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A client that has sent all and still listens (a half-closed socket) gets its answer."""
        cycle: RequestResponseCycle | None = self.cycle
        if (
            cycle is None or cycle.response_complete or cycle.more_body
            or self.end_is_gone or self.scheme == "https"
        ):  # fmt: skip
            return None
        self.has_ended = True
        self._listens_until = self.edge.now + LISTENS_SECONDS
        cycle.keep_alive = False
        return True

    # -- the head, the body, the answer -----------------------------------------------------

    def on_message_begin(self) -> None:
        self._head = 0
        self._reading = True
        self._due = self.edge.now + self.edge.bounds.head_seconds
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + HEADER_COST)
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > self.edge.bounds.head_bytes:
            raise _HeadTooLarge

    def on_headers_complete(self) -> None:
        self._due = self.edge.now + self.edge.bounds.body_seconds
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._reading = False
        self._due = FOR_EVER
        super().on_message_complete()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_complete:
            self._due = self.edge.now + self.edge.bounds.idle_seconds

    def on_response_complete(self) -> None:
        """As uvicorn's, without a timer for each answer: the look at all connections does that."""
        self.server_state.total_requests += 1
        self.alone, self.end_is_gone = None, False
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif not self._reading:
            self._due = self.edge.now + self.edge.bounds.idle_seconds

    def send_400_response(self, msg: str) -> None:
        if self._head > self.edge.bounds.head_bytes:
            self._farewell(
                HeadTooLarge(f"the head of the request is longer than {self.edge.bounds.head_bytes} bytes")
            )
        else:
            self._farewell(
                Malformed("this is no HTTP/1.1 request", hint="Send a request as RFC 9112 has it.")
            )

    # -- time -------------------------------------------------------------------------------

    def look(self, now: float) -> int:
        """Once a second: end what has had its time. Returns the bytes that the client has not taken."""
        if now > self._due:
            self._late()
        elif now > self._listens_until and self.alone is not None:
            self.transport.abort()
        return self._taking.look(now, self.edge.bounds.send_seconds)

    def _late(self) -> None:
        self._due = FOR_EVER
        cycle: RequestResponseCycle | None = self.cycle
        if not self._reading:
            self.transport.close()
        elif cycle is not None and (cycle.response_complete or cycle.response_started):
            self.transport.abort()  # an answer has been given, or is: there can be no second one
        else:
            if cycle is not None:  # its body; the application learns that the client is gone
                cycle.disconnected = True
                cycle.message_event.set()
            self._farewell(RequestTimeout("the request did not arrive in time"))

    def _farewell(self, error: ThaneError) -> None:
        """Answer, and take no more: what still comes is thrown away for a moment, then the end."""
        transport = self.transport
        transport.write(self.edge.refusal(error))
        if not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        self.connections.discard(self)
        transport.set_protocol(_Leaving(self, transport))
        self.flow.resume_reading()

    # -- for streams (`asgi.Peer`) ----------------------------------------------------------

    def abort(self) -> None:
        self.transport.abort()

    def when_stalled(self, tell: Callable[[], None]) -> None:
        self._taking.stalled = tell

    def write_now(self, data: bytes) -> bool:
        cycle = self.cycle
        if (
            self.flow.write_paused
            or not cycle.chunked_encoding
            or cycle.response_complete
            or cycle.disconnected
        ):
            return False
        cycle.transport.write(data)  # behind the head, which may still be held back
        return True


class _HeadTooLarge(Exception):
    """Raised into the parser, which refuses the request."""


class _Leaving(asyncio.Protocol):
    """Throws away what a refused client still sends."""

    def __init__(self, before: Connection, transport: asyncio.Transport) -> None:
        self._connections = cast("set[Any]", before.connections)
        self._transport = transport
        self._left = LINGER_BYTES
        self._due = before.edge.now + LINGER_SECONDS + SWEEP_SECONDS
        self._before = before
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._before.connection_lost(exc)

    def look(self, now: float) -> int:
        if now > self._due:
            self._transport.abort()
        return 0

    def shutdown(self) -> None:
        self._transport.abort()


class OwnersOnly(Connection):
    """Hangs up on every other user of the machine before a byte is read."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        uid = peer_uid(transport.get_extra_info("socket").fileno())
        if uid not in (os.geteuid(), 0):
            log.warning("refused a connection to the data folder's socket", extra={"uid": uid})
            transport.abort()


class SocketConnection(WSProtocol):
    """A WebSocket within the bounds, and the `Peer` of its stream."""

    config: EdgeConfig
    alone: asyncio.Task[Any] | None = None
    is_gone = False
    end_is_gone = True
    has_ended = False
    _taking: _Taking

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._taking = _Taking(transport)
        self.app_state = {**self.app_state, PEER: self}

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        super().connection_lost(exc)

    def look(self, now: float) -> int:
        return self._taking.look(now, self.config.edge.bounds.send_seconds)

    def abort(self) -> None:
        self.transport.abort()

    def when_stalled(self, tell: Callable[[], None]) -> None:
        self._taking.stalled = tell

    def write_now(self, data: bytes) -> bool:
        if not self.handshake_complete or self.close_sent or self.disconnected or not self.writable.is_set():
            return False
        self.transport.write(data)
        return True
