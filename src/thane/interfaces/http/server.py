"""Serve the application: TCP and the data folder's socket, in the loop of whoever starts it.

uvicorn with uvloop and httptools moves the bytes, within the bounds of `connection.py`.
Sockets are bound here, so that a port that is taken is a clear error before anything is
said to be ready. The folder's socket admits the folder's owner and root, as the kernel
names them, and acts as the local owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from uvicorn import Server

from thane.interfaces.http.app import OWNER, HttpApp
from thane.interfaces.http.asgi import Receive, Scope, Send
from thane.interfaces.http.connection import (
    Bounds,
    Connection,
    Edge,
    EdgeConfig,
    OwnersOnly,
    SocketConnection,
)
from thane.interfaces.http.tls import Tls, TlsListener
from thane.interfaces.sockets import listen_tcp, listen_unix

MAX_MESSAGE_BYTES: Final = 4096


class HttpServer:
    """One process's listeners. `start_tcp` and `start_unix` return when they accept; `stop` when all are
    answered or their time is over."""

    def __init__(
        self, app: HttpApp, *, drain_seconds: int = 20, bounds: Bounds | None = None, tls: Tls | None = None
    ) -> None:
        self._app = app
        self._drain = drain_seconds
        self._tls = tls
        self._edge = Edge(bounds or Bounds(), app.admission, app.new_request_id, app.counted)
        self._running: list[tuple[_Server, asyncio.Task[None]]] = []
        self._sweeping: asyncio.Task[None] | None = None
        self._unix: Path | None = None

    async def start_tcp(self, host: str, port: int) -> tuple[str, int]:
        """Listen on TCP; PortInUse. Returns the address (port 0 lets the system choose)."""
        listener = listen_tcp(host, port)
        address = listener.getsockname()
        await self._start(self._app, listener, Connection, self._tls)
        return str(address[0]), int(address[1])

    async def start_unix(self, path: Path) -> None:
        """Listen on the data folder's socket, for its owner and root."""
        listener = listen_unix(path)
        self._unix = path
        await self.serve_unix(listener)

    async def serve_unix(self, listener: socket.socket) -> None:
        """Serve a unix socket that listens already; whoever made it removes its file."""
        await self._start(_AsOwner(self._app), listener, OwnersOnly, None)

    async def stop(self) -> None:
        """Take no more connections, answer what was asked (for `drain_seconds` at most), close."""
        self._app.end_streams()
        for server, _ in self._running:
            server.should_exit = True
        for _, task in self._running:
            await task
        for connection in self._connections():
            connection.transport.abort()  # its client takes nothing, or its time is over
        self._running.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
            self._sweeping = None
        if self._unix is not None:
            self._unix.unlink(missing_ok=True)
            self._unix = None

    def _connections(self) -> set[Any]:
        return {c for server, _ in self._running for c in server.server_state.connections}

    async def _start(
        self, app: Any, listener: socket.socket, protocol: type[Connection], tls: Tls | None
    ) -> None:
        if self._sweeping is None:
            self._edge.now = asyncio.get_running_loop().time()
            self._sweeping = asyncio.create_task(self._edge.sweep(self._connections))
        config = EdgeConfig(
            app,
            http=protocol,
            ws=SocketConnection,
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
            timeout_graceful_shutdown=self._drain,
        )
        config.edge = self._edge
        server = _Server(config, tls)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        self._running.append((server, task))
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done():
            task.result()


class _Server(Server):
    """uvicorn's server, without its hold on the process's signals: bootstrap has them."""

    def __init__(self, config: EdgeConfig, tls: Tls | None) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._tls is None:
            await super().startup(sockets)
        else:
            await self._start_tls(self._tls, sockets or [])
        self.ready.set()

    async def _start_tls(self, tls: Tls, sockets: list[socket.socket]) -> None:
        """uvicorn would not notice a client that speaks plain HTTP to a port of TLS."""
        await super().startup([])

        def connection() -> asyncio.Protocol:
            assert isinstance(self.config, EdgeConfig)
            return Connection(self.config, self.server_state, self.lifespan.state)

        self.servers += [TlsListener(one, tls, connection) for one in sockets]  # type: ignore[misc]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _AsOwner:
    """Marks requests that came through the folder's socket."""

    def __init__(self, app: HttpApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, OWNER: True}, receive, send)
