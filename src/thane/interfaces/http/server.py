"""Serve the application: TCP and the data folder's socket, in the loop of whoever starts it.

uvicorn with uvloop and httptools moves the bytes. Sockets are bound here, so that a port
that is taken is a clear error before anything is said to be ready. The folder's socket
admits the folder's owner and root, as the kernel names them, and acts as the local owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from uvicorn import Config, Server
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from thane.interfaces.http.app import OWNER, HttpApp
from thane.interfaces.http.asgi import Receive, Scope, Send
from thane.interfaces.http.live import ABORT
from thane.interfaces.http.onewrite import OneWriteProtocol
from thane.interfaces.sockets import listen_tcp, listen_unix, peer_uid

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS: Final = 30
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_MESSAGE_BYTES: Final = 4096


class HttpServer:
    """One process's listeners. `start` returns when they accept; `stop` when all are answered."""

    def __init__(self, app: HttpApp, *, drain_seconds: int = 20) -> None:
        self._app = app
        self._drain = drain_seconds
        self._running: list[tuple[_Server, asyncio.Task[None]]] = []
        self._unix: Path | None = None

    async def start_tcp(self, host: str, port: int) -> tuple[str, int]:
        """Listen on TCP; PortInUse. Returns the address (port 0 lets the system choose)."""
        listener = listen_tcp(host, port)
        address = listener.getsockname()
        await self._start(self._app, listener, _Bounded)
        return str(address[0]), int(address[1])

    async def start_unix(self, path: Path) -> None:
        """Listen on the data folder's socket, for its owner and root."""
        listener = listen_unix(path)
        self._unix = path
        await self.serve_unix(listener)

    async def serve_unix(self, listener: socket.socket) -> None:
        """Serve a unix socket that listens already; whoever made it removes its file."""
        await self._start(_AsOwner(self._app), listener, _OwnersOnly)

    async def stop(self) -> None:
        """Take no more connections, answer what was asked (for `drain_seconds` at most), close."""
        self._app.end_streams()
        for server, _ in self._running:
            server.should_exit = True
        for _, task in self._running:
            await task
        self._running.clear()
        if self._unix is not None:
            self._unix.unlink(missing_ok=True)
            self._unix = None

    async def _start(self, app: Any, listener: socket.socket, protocol: type[asyncio.Protocol]) -> None:
        config = Config(
            app,
            http=protocol,
            ws=WSProtocol,
            # Nothing that a client says is read; what it may say before it is shown out is this long.
            ws_max_size=MAX_MESSAGE_BYTES,
            # Events are short, and a thousand watchers would be a thousand compressions.
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=self._drain,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        self._running.append((server, task))
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done():
            task.result()


class _Server(Server):
    """uvicorn's server, without its hold on the process's signals: bootstrap has them."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _HeadTooLarge(Exception):
    """Raised into the parser, which answers 400 and hangs up."""


class _Bounded(OneWriteProtocol):
    """httptools has no limit for a request's head: without one, a client could fill the memory."""

    _head = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # For a stream whose client takes nothing any more; a WebSocket inherits it.
        self.app_state = {**self.app_state, ABORT: transport.abort}

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEADER_BYTES:
            raise _HeadTooLarge


class _OwnersOnly(_Bounded):
    """Hangs up on every other user of the machine before a byte is read."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        uid = peer_uid(transport.get_extra_info("socket").fileno())
        if uid not in (os.geteuid(), 0):
            log.warning("refused a connection to the data folder's socket", extra={"uid": uid})
            transport.abort()


class _AsOwner:
    """Marks requests that came through the folder's socket."""

    def __init__(self, app: HttpApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, OWNER: True}, receive, send)
