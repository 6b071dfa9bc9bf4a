"""The ASGI application over the registry: routes, headers, errors, streams, health and metrics.

A host of the pipeline: what a request may do, and what it does, is not decided here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from thane.interfaces.http.admission import Admission
from thane.interfaces.http.answer import Answer
from thane.interfaces.http.asgi import BYTES, JSON, Disconnected, Receive, Scope, Send, peer_of
from thane.interfaces.http.cors import Cors
from thane.interfaces.http.forwarded import Proxies
from thane.interfaces.http.health import Check, health_of
from thane.interfaces.http.live import (
    ServerSentEvents,
    WebSocket,
    handshake,
    hung_up,
    pump,
    refusal,
    socket_left,
)
from thane.interfaces.http.openapi import document
from thane.interfaces.http.projection import project
from thane.interfaces.http.request import Taken, Wanted, call_of, headers_of, matches_etag, request_id_of
from thane.interfaces.http.routing import Router, allowed
from thane.interfaces.http.sse import EventQueue, stream
from thane.kernel.errors import MethodNotAllowed, ThaneError, Unavailable
from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.declare import Effect
from thane.kernel.operations.pipeline import Pipeline
from thane.kernel.operations.registry import Bound
from thane.kernel.operations.streams import Stream

log = logging.getLogger(__name__)

BASE: Final = "/api/v1"
MIB: Final = 1 << 20
_encode = msgspec.json.Encoder().encode

Hook = Callable[[], Awaitable[None]]
# Set in the scope by the server of the data folder's socket, whose peers the kernel has named.
OWNER: Final = "thane.owner"
# The folder's owner could write the disk full without us: `thane run --file` may bring more than a client.
OWNERS_MOST: Final = 256 * MIB


class HttpApp:
    """`metrics` renders the page at `metrics_path`, which is not there without it;
    `health` are checks by part, each raising when its part is down;
    `counted(method, status)` is told of every answer; `origins` are those of `cors.py`."""

    def __init__(  # noqa: PLR0913 - what can be set about an edge, each by its name
        self,
        pipeline: Pipeline,
        *,
        max_body_bytes: int = MIB,
        max_file_bytes: int = 64 * MIB,
        proxies: Proxies | None = None,
        origins: Sequence[str] = (),
        admission: Admission | None = None,
        health: Mapping[str, Check] | None = None,
        metrics: Callable[[], bytes] | None = None,
        metrics_path: str = "/metrics",
        counted: Callable[[str, int], None] | None = None,
        hooks: tuple[Sequence[Hook], Sequence[Hook]] = ((), ()),
    ) -> None:
        self._pipeline = pipeline
        self._router = Router(pipeline.operations, BASE)
        self._proxies = proxies or Proxies()
        self._cors = Cors(origins)
        self.admission = admission or Admission()
        self._from_others = Taken(max_body_bytes, max_file_bytes, self._proxies, self.admission)
        # The owner could fill the disk as well, and sends one big file at a time.
        self._from_owner = Taken(
            max(max_body_bytes, OWNERS_MOST), max(max_file_bytes, OWNERS_MOST), self._proxies, None
        )
        self.counted = counted
        self._health = health or {}
        self._metrics = metrics
        self._start, self._stop = hooks
        self._openapi: bytes | None = None
        self._plain: dict[str, Callable[[], Awaitable[tuple[int, bytes, bytes]]]] = {
            "/health": self._health_page,
            "/openapi.json": self._openapi_page,
            f"{BASE}/openapi.json": self._openapi_page,
        }
        if metrics is not None:
            self._plain.setdefault(metrics_path, self._metrics_page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        over_socket = scope["type"] == "websocket"
        if not over_socket and scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} connections are not served here")
        headers = headers_of(scope)
        request_id = request_id_of(headers, self._pipeline.ids)
        method = "GET" if over_socket else scope["method"]
        answer = Answer(refusal(send) if over_socket else send, request_id, method, self.counted)
        if self._cors:
            answer.more += self._cors.headers(scope)
        try:
            page = self._plain.get(scope["path"])
            if over_socket:
                await self._serve_socket(scope, headers, receive, send, answer)
            elif page is not None:
                await self._serve_page(page, scope, answer)
            else:
                await self._serve(scope, headers, receive, answer)
        except Disconnected:
            return
        except asyncio.CancelledError:
            peer = peer_of(scope)
            if peer is None:
                raise
            if not peer.is_gone:  # it took longer than the server has for its stop
                await answer.refuse(Unavailable("the server stops", retry_after=1))
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes a problem
            await answer.refuse(error)

    # -- operations -------------------------------------------------------------------------

    async def _serve(self, scope: Scope, headers: Wanted, receive: Receive, answer: Answer) -> None:
        methods, values = self._router.find(scope["path"])
        method = scope["method"]
        if method == "OPTIONS":
            await self._options(allowed(methods).encode(), answer)
            return
        bound = methods.get("GET" if method == "HEAD" else method)
        if bound is None:
            answer.more.append((b"allow", allowed(methods).encode()))
            raise MethodNotAllowed(f"{method} is not possible on {scope['path']}")
        self.admission.check()
        call, fields = await self._call(bound, values, scope, headers, receive, answer)
        try:
            if bound.streams:
                await self._watch(call, scope, receive, answer)
            elif bound.effect is not Effect.OUTSIDE:
                await self._show(await self._answered(call, scope), call, headers, fields, answer)
            else:
                self._listens(scope)
                if b"text/event-stream" in headers.get(b"accept", b""):
                    await self._stream(call, receive, answer)
                else:
                    reply = await self._until_hang_up(call, receive)
                    await self._show(reply, call, headers, fields, answer)
        finally:
            if call.body and not scope.get(OWNER):
                self.admission.let_go(len(call.body))

    async def _options(self, allow: bytes, answer: Answer) -> None:
        more = [(b"allow", allow)]
        await answer.send(204, b"", more + self._cors.preflight(allow) if self._cors else more)

    async def _answered(self, call: Call, scope: Scope) -> Reply:
        """One of the many that are worked on at one time. A read ends when nobody waits for it any more."""
        peer = peer_of(scope) if call.operation.effect is Effect.NONE else None
        if peer is not None:
            peer.alone = asyncio.current_task()
        await self.admission.enter()
        try:
            return await self._pipeline.call(call)
        finally:
            self.admission.leave()
            if peer is not None:
                peer.alone = None

    def _listens(self, scope: Scope) -> None:
        """From here on the client is wanted at the other end: the end of what it sends is its going."""
        if (peer := peer_of(scope)) is not None:
            peer.end_is_gone = True
            if peer.has_ended:
                raise Disconnected

    async def _call(
        self,
        bound: Bound,
        values: Sequence[str],
        scope: Scope,
        headers: Wanted,
        receive: Receive,
        answer: Answer,
    ) -> tuple[Call, str | None]:
        edge = self._from_owner if scope.get(OWNER) else self._from_others
        call, fields = await call_of(bound, values, scope, headers, receive, answer.request_id, edge)
        if scope.get(OWNER):
            call.identified = await self._pipeline.identity.local_owner()
        return call, fields

    async def _show(
        self, reply: Reply, call: Call, headers: Wanted, fields: str | None, answer: Answer
    ) -> None:
        made = answer.more
        body = reply.body
        if call.operation.gives:
            await answer.send(reply.status, body, kind=BYTES)
            return
        if fields is not None and body:  # before anything is said: a field that is none is refused
            body = project(body, fields)
        if reply.version is not None:
            made.append((b"etag", b'"%d"' % reply.version))
            if call.operation.method == "GET" and matches_etag(headers.get(b"if-none-match"), reply.version):
                await answer.send(304, b"")
                return
        if reply.index is not None:
            made.append((b"thane-ledger-index", b"%d" % reply.index))
        if reply.intent_index is not None:
            made.append((b"thane-intent-index", b"%d" % reply.intent_index))
        if reply.replayed:
            made.append((b"idempotency-replayed", b"true"))
        if reply.status == 201 and reply.resource is not None:
            where = self._pipeline.operations.location(call.operation, reply.resource)
            if where is not None:
                made.append((b"location", (BASE + where).encode()))
        await answer.send(reply.status, body)

    async def _until_hang_up(self, call: Call, receive: Receive) -> Reply:
        """Run an effect; if the client goes away first, the pipeline is told by cancellation."""
        work = asyncio.create_task(self._pipeline.call(call))
        gone = asyncio.create_task(hung_up(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Disconnected
            return work.result()
        finally:
            await _end(work, gone)

    async def _stream(self, call: Call, receive: Receive, answer: Answer) -> None:
        queue = EventQueue()
        call.listener = queue.put
        work = asyncio.create_task(self._pipeline.call(call))
        gone = asyncio.create_task(hung_up(receive))
        sending = asyncio.create_task(
            stream(queue, work, answer.raw, answer.headers(), answer.request_id, answer.refuse)
        )
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await _end(work, gone, sending)

    # -- streams ----------------------------------------------------------------------------

    async def _watch(self, call: Call, scope: Scope, receive: Receive, answer: Answer) -> None:
        """Server-sent events for as long as the client listens."""
        self._listens(scope)
        stream: Stream = (await self._answered(call, scope)).value
        if scope["method"] == "HEAD":
            await answer.send(200, b"")
            return
        async with self._pipeline.streams.hold(call, stream):
            await pump(stream, ServerSentEvents(answer.raw, answer.headers()), hung_up(receive), scope)

    async def _serve_socket(
        self, scope: Scope, headers: Wanted, receive: Receive, send: Send, answer: Answer
    ) -> None:
        """The same over a WebSocket. Whatever is wrong is answered before it is accepted."""
        await receive()
        protocol = handshake(scope, headers, self._may_watch)
        methods, values = self._router.find(scope["path"])
        bound = methods.get("GET")
        if bound is None or not bound.streams:
            raise MethodNotAllowed(f"there is no WebSocket at {scope['path']}; ask by HTTP")
        call, _ = await self._call(bound, values, scope, headers, receive, answer)
        stream: Stream = (await self._answered(call, scope)).value
        async with self._pipeline.streams.hold(call, stream):
            out = WebSocket(send, protocol, answer.accepted)
            await pump(stream, out, socket_left(receive, stream), scope)

    def _may_watch(self, scope: Scope, origin: bytes) -> bool:
        """Browsers let any page open a WebSocket: only the own origin may, and those that CORS names."""
        if self._cors.admits(origin):
            return True
        named = {n: v for n, v in scope["headers"] if n == b"host" or b"forwarded" in n}
        client = self._proxies.client(scope, named)
        page = urlsplit(origin.decode("latin-1").lower())
        return page.netloc == client.host and (client.scheme == "http" or page.scheme == "https")

    def new_request_id(self) -> str:
        """For what is refused before it is a request."""
        return self._pipeline.ids.new("req")

    def end_streams(self) -> None:
        """The server stops: tell those who watch, or it would wait for them."""
        self._pipeline.streams.stop()

    # -- pages ------------------------------------------------------------------------------

    async def _serve_page(
        self, page: Callable[[], Awaitable[tuple[int, bytes, bytes]]], scope: Scope, answer: Answer
    ) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            if scope["method"] == "OPTIONS":
                await self._options(b"GET, HEAD, OPTIONS", answer)
                return
            answer.more.append((b"allow", b"GET, HEAD, OPTIONS"))
            raise MethodNotAllowed(f"{scope['method']} is not possible on {scope['path']}")
        status, kind, body = await page()
        await answer.send(status, body, kind=kind)

    async def _health_page(self) -> tuple[int, bytes, bytes]:
        status, body = await health_of(self._health)
        return status, JSON, _encode(body)

    async def _metrics_page(self) -> tuple[int, bytes, bytes]:
        body = b"" if self._metrics is None else self._metrics()
        return 200, b"text/plain; version=0.0.4; charset=utf-8", body

    async def _openapi_page(self) -> tuple[int, bytes, bytes]:
        if self._openapi is None:
            self._openapi = _encode(document(self._pipeline.operations, BASE))
        return 200, JSON, self._openapi

    # -- life -------------------------------------------------------------------------------

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """For servers other than ours; `server.py` calls the hooks' owner itself."""
        while True:
            message = await receive()
            starting = message["type"] == "lifespan.startup"
            name = "startup" if starting else "shutdown"
            try:
                for hook in self._start if starting else self._stop:
                    await hook()
            except ThaneError as fault:
                await send({"type": f"lifespan.{name}.failed", "message": fault.message})
                return
            await send({"type": f"lifespan.{name}.complete"})
            if not starting:
                return


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel what still runs and see it off; what is done has been looked at already."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
