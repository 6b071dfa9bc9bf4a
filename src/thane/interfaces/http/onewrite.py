"""An answer's head and body in one write: one system call and one packet instead of two.

uvicorn writes the head when the application starts its answer and the body when it comes;
on a small answer the second write costs more than everything else that the server does.
What is held back is held for the present turn of the loop only, so a stream's head leaves
before its first event. Nothing else about a connection is decided here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol, whose answers are written whole."""

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.transport = OneWrite(cycle.transport, self.loop)
        super()._start_asgi_task(cycle, app)


class OneWrite:
    """The transport as one answer sees it: its first write waits for the second, or for the turn's end."""

    __slots__ = ("_begun", "_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self._begun = False

    def write(self, data: bytes) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held + data)
        elif self._begun:
            self._transport.write(data)
        else:
            self._begun, self._held = True, data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)
