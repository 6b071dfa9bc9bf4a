"""The data folder's socket, open from the start; the HTTP server behind it is made at the first knock.

A command owns its folder for less than a second and seldom has a visitor, and a server
costs a tenth of a second to import, start and stop. The socket listens meanwhile, so who
knocks waits in its queue. Nothing here reads a byte of a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from select import select
from socket import socket
from typing import Protocol

from thane.interfaces.sockets import listen_unix

log = logging.getLogger(__name__)


class Behind(Protocol):
    """The server behind the door (`server.HttpServer`)."""

    async def serve_unix(self, listener: socket) -> None: ...

    async def stop(self) -> None: ...


class Door:
    """`make` makes the server. `open` before use, `close` after it; both in one event loop."""

    def __init__(self, path: Path, make: Callable[[], Behind]) -> None:
        self._path = path
        self._make = make
        self._listener: socket | None = None
        self._server: Behind | None = None
        self._starting: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Listen. Call it with the data folder's lock only."""
        self._listener = listen_unix(self._path)
        asyncio.get_running_loop().add_reader(self._listener, self._knock)

    def _knock(self) -> None:
        assert self._listener is not None
        self._knock_at(self._listener)

    def _knock_at(self, listener: socket) -> None:
        asyncio.get_running_loop().remove_reader(listener)
        self._starting = asyncio.create_task(self._let_in(listener))

    async def _let_in(self, listener: socket) -> None:
        try:
            self._server = self._make()
            await self._server.serve_unix(listener)
        except Exception:
            log.exception("the data folder's socket cannot be served")

    async def close(self) -> None:
        """Answer who was let in, then take the socket away."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._path.unlink(missing_ok=True)
        if self._starting is None and select([listener], (), (), 0)[0]:
            self._knock_at(listener)  # someone came before the path was gone, and must not be left standing
        if self._starting is None:
            asyncio.get_running_loop().remove_reader(listener)
        else:
            await self._starting
            if self._server is not None:
                await self._server.stop()
        listener.close()
