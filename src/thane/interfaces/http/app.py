"""The ASGI application over the registry: routes, headers, errors, streams, health and metrics.

A host of the pipeline: what a request may do, and what it does, is not decided here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from thane.interfaces.http.asgi import BYTES, JSON, Disconnected, Headers, Receive, Scope, Send, respond
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
from thane.interfaces.http.problem import CONTENT_TYPE, defect, problem_headers, problem_of
from thane.interfaces.http.projection import project
from thane.interfaces.http.request import (
    Most,
    Networks,
    Wanted,
    call_of,
    headers_of,
    matches_etag,
    request_id_of,
)
from thane.interfaces.http.routing import Router, allowed
from thane.interfaces.http.sse import EventQueue, stream
from thane.kernel.errors import MethodNotAllowed, ThaneError
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
    `counted(method, status)` is told of every answer."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        pipeline: Pipeline,
        *,
        max_body_bytes: int = MIB,
        max_file_bytes: int = 64 * MIB,
        proxies: Networks = (),
        health: Mapping[str, Check] | None = None,
        metrics: Callable[[], bytes] | None = None,
        metrics_path: str = "/metrics",
        counted: Callable[[str, int], None] | None = None,
        hooks: tuple[Sequence[Hook], Sequence[Hook]] = ((), ()),
    ) -> None:
        self._pipeline = pipeline
        self._router = Router(pipeline.operations, BASE)
        self._most = Most(max_body_bytes, max_file_bytes)
        self._owners_most = Most(max(max_body_bytes, OWNERS_MOST), max(max_file_bytes, OWNERS_MOST))
        self._proxies = proxies
        self._health = health or {}
        self._metrics = metrics
        self._counted = counted
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
        answer = _Answer(refusal(send) if over_socket else send, request_id, method, self._counted)
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
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes a problem
            await answer.refuse(error)

    # -- operations -------------------------------------------------------------------------

    async def _serve(self, scope: Scope, headers: Wanted, receive: Receive, answer: _Answer) -> None:
        methods, values = self._router.find(scope["path"])
        method = scope["method"]
        if method == "OPTIONS":
            await answer.send(204, b"", [(b"allow", allowed(methods).encode())])
            return
        bound = methods.get("GET" if method == "HEAD" else method)
        if bound is None:
            answer.more.append((b"allow", allowed(methods).encode()))
            raise MethodNotAllowed(f"{method} is not possible on {scope['path']}")
        call, fields = await self._call(bound, values, scope, headers, receive, answer)
        if bound.streams:
            await self._watch(call, scope, receive, answer)
        elif bound.effect is not Effect.OUTSIDE:
            await self._show(await self._pipeline.call(call), call, headers, fields, answer)
        elif b"text/event-stream" in headers.get(b"accept", b""):
            await self._stream(call, receive, answer)
        else:
            reply = await self._until_hang_up(call, receive)
            await self._show(reply, call, headers, fields, answer)

    async def _call(
        self,
        bound: Bound,
        values: Sequence[str],
        scope: Scope,
        headers: Wanted,
        receive: Receive,
        answer: _Answer,
    ) -> tuple[Call, str | None]:
        call, fields = await call_of(
            bound,
            values,
            scope,
            headers,
            receive,
            answer.request_id,
            most=self._owners_most if scope.get(OWNER) else self._most,
            proxies=self._proxies,
        )
        if scope.get(OWNER):
            call.identified = await self._pipeline.identity.local_owner()
        return call, fields

    async def _show(
        self, reply: Reply, call: Call, headers: Wanted, fields: str | None, answer: _Answer
    ) -> None:
        made = answer.more
        body = reply.body
        if call.operation.gives:
            await answer.send(reply.status, body, kind=BYTES)
            return
        if reply.version is not None:
            made.append((b"etag", b'"%d"' % reply.version))
            if call.operation.method == "GET" and matches_etag(headers.get(b"if-none-match"), reply.version):
                await answer.send(304, b"")
                return
        if fields is not None and body:
            body = project(body, fields)
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

    async def _stream(self, call: Call, receive: Receive, answer: _Answer) -> None:
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

    async def _watch(self, call: Call, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Server-sent events for as long as the client listens."""
        stream: Stream = (await self._pipeline.call(call)).value
        if scope["method"] == "HEAD":
            await answer.send(200, b"")
            return
        async with self._pipeline.streams.hold(call, stream):
            await pump(stream, ServerSentEvents(answer.raw, answer.headers()), hung_up(receive), scope)

    async def _serve_socket(
        self, scope: Scope, headers: Wanted, receive: Receive, send: Send, answer: _Answer
    ) -> None:
        """The same over a WebSocket. Whatever is wrong is answered before it is accepted."""
        await receive()
        protocol = handshake(scope, headers)
        methods, values = self._router.find(scope["path"])
        bound = methods.get("GET")
        if bound is None or not bound.streams:
            raise MethodNotAllowed(f"there is no WebSocket at {scope['path']}; ask by HTTP")
        call, _ = await self._call(bound, values, scope, headers, receive, answer)
        stream: Stream = (await self._pipeline.call(call)).value
        async with self._pipeline.streams.hold(call, stream):
            out = WebSocket(send, protocol, answer.accepted)
            await pump(stream, out, socket_left(receive, stream), scope)

    def end_streams(self) -> None:
        """The server stops: tell those who watch, or it would wait for them."""
        self._pipeline.streams.stop()

    # -- pages ------------------------------------------------------------------------------

    async def _serve_page(
        self, page: Callable[[], Awaitable[tuple[int, bytes, bytes]]], scope: Scope, answer: _Answer
    ) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            answer.more.append((b"allow", b"GET, HEAD"))
            if scope["method"] == "OPTIONS":
                await answer.send(204, b"")
                return
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


class _Answer:
    """The answer under way: what every answer carries, and how a failure is shown."""

    def __init__(
        self, send: Send, request_id: str, method: str, counted: Callable[[str, int], None] | None
    ) -> None:
        self.request_id = request_id
        self.more: Headers = []
        self._send = send
        self._method = method
        self._counted = counted
        self._begun = False

    async def raw(self, message: Mapping[str, Any]) -> None:
        """ASGI's `send`, noting that the answer has begun."""
        if message["type"] == "http.response.start":
            self._begun = True
            if self._counted is not None:
                self._counted(self._method, message["status"])
        await self._send(message)

    def accepted(self) -> None:
        """A WebSocket was accepted: there is no other answer any more."""
        self._begun = True
        if self._counted is not None:
            self._counted(self._method, 101)

    def headers(self) -> Headers:
        """What goes with every answer."""
        return [(b"thane-request-id", self.request_id.encode()), (b"cache-control", b"no-store"), *self.more]

    async def send(self, status: int, body: bytes, more: Headers | None = None, kind: bytes = JSON) -> None:
        headers = self.headers() + (more or [])
        if body:
            headers.append((b"content-type", kind))
        await respond(self.raw, status, headers, body, head=self._method == "HEAD")

    async def refuse(self, error: BaseException) -> None:
        """Show an error; one that is none of Thane's tree goes to the log in full."""
        if not isinstance(error, ThaneError):
            log.error("request failed", exc_info=error, extra={"request_id": self.request_id})
            error = defect(self.request_id)
        if self._begun:
            log.error("an answer broke off", extra={"request_id": self.request_id, "code": error.code})
            return
        headers = problem_headers(error)
        if error.status == 413:
            # The rest of the body is not read.
            headers.append((b"connection", b"close"))
        await self.send(error.status, _encode(problem_of(error, self.request_id)), headers, CONTENT_TYPE)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel what still runs and see it off; what is done has been looked at already."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
