"""Clients of `GET /api/v1/watch`: server-sent events and WebSocket, every byte in the test's hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tests.support.program import Served

BOUND = 30.0


class Told(NamedTuple):
    """One event, and when it arrived (by the clock of all processes)."""

    event: str
    id: str | None
    data: Any
    at: float


class Refused(Exception):
    """An answer that is no stream: its status and problem."""

    def __init__(self, status: int, problem: Any) -> None:
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem


class Sse:
    """One stream of server-sent events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.comments = 0
        self.last_id: str | None = None
        self._text = b""
        self._over = False

    async def next(self) -> Told | None:
        """The next event; None at the end."""
        while True:
            block, found, rest = self._text.partition(b"\n\n")
            if not found:
                if self._over or not await self._more():
                    return None
                continue
            self._text = rest
            told = self._read(block)
            if told is not None:
                return told

    def _read(self, block: bytes) -> Told | None:
        """As the specification says: an id counts also without data, and an event without data is none."""
        name, data, id = "message", None, None
        for line in block.decode().split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "":
                self.comments += 1
            elif field == "event":
                name = value
            elif field == "data":
                data = value
            elif field == "id":
                id = self.last_id = value
        return None if data is None else Told(name, id, json.loads(data), time.time())

    async def _more(self) -> bool:
        try:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            self._text += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        except (asyncio.IncompleteReadError, ConnectionError):
            size = 0
        self._over = size == 0
        return not self._over

    def pause(self) -> None:
        """Take no bytes off the socket."""
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    def resume(self) -> None:
        cast("asyncio.Transport", self.writer.transport).resume_reading()

    async def take(self, count: int) -> list[Told]:
        """So many events after `ready`; fewer only at the end."""
        found: list[Told] = []
        async with asyncio.timeout(BOUND):
            while len(found) < count and (told := await self.next()) is not None:
                if told.event != "ready":
                    found.append(told)
        return found

    async def rest(self) -> list[Told]:
        return await self.take(1_000_000)


@asynccontextmanager
async def sse(
    server: Served,
    query: Mapping[str, str] | None = None,
    /,
    *,
    key: str | None = "",
    last: str | None = None,
    **more: str,
) -> AsyncIterator[Sse]:
    """A watch as server-sent events, its `ready` taken. Raises Refused. `key` None sends none."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        asked = urlencode({**(query or {}), **more})
        lines = [f"GET /api/v1/watch?{asked} HTTP/1.1", f"host: {server.host}:{server.port}"]
        lines += [] if key is None else [f"authorization: Bearer {key or server.key}"]
        lines += [] if last is None else [f"last-event-id: {last}"]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        async with asyncio.timeout(BOUND):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = int(head.split(" ", 2)[1])
            if status != 200:
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                raise Refused(status, json.loads(await reader.readexactly(length)))
        assert "text/event-stream" in head
        made = Sse(reader, writer)
        async with asyncio.timeout(BOUND):
            first = await made.next()
        assert first is not None
        assert first.event == "ready"
        yield made
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class Ws:
    """One WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._waiting: list[Told] = []
        self.accepted = False
        self.protocol: str | None = None
        self.closed: int | None = None

    async def open(self, host: str, target: str, headers: Mapping[str, str], protocols: list[str]) -> None:
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._writer.write(
            self._connection.send(
                Request(host=host, target=target, extra_headers=extra, subprotocols=protocols)
            )
        )
        status, problem = 0, b""
        async with asyncio.timeout(BOUND):
            while not self.accepted:
                for event in await self._events():
                    if isinstance(event, RejectConnection):
                        status = event.status_code
                    elif isinstance(event, RejectData):
                        problem += event.data
                        if event.body_finished:
                            raise Refused(status, json.loads(problem))
                if self.closed is not None:
                    raise Refused(status, None)

    async def say(self, text: str) -> None:
        self._writer.write(self._connection.send(TextMessage(data=text)))
        await self._writer.drain()

    async def next(self) -> Told | None:
        """The next message; None when it is closed."""
        while not self._waiting:
            if self.closed is not None:
                return None
            await self._events()
        return self._waiting.pop(0)

    async def take(self, count: int) -> list[Told]:
        found: list[Told] = []
        async with asyncio.timeout(BOUND):
            while len(found) < count and (told := await self.next()) is not None:
                if told.event != "ready":
                    found.append(told)
        return found

    async def rest(self) -> list[Told]:
        return await self.take(1_000_000)

    async def _events(self) -> list[Any]:
        data = await self._reader.read(65_536)
        if not data and self.closed is None:
            self.closed = 1006
            return []
        self._connection.receive_data(data)
        events = list(self._connection.events())
        for event in events:
            if isinstance(event, AcceptConnection):
                self.accepted, self.protocol = True, event.subprotocol
            elif isinstance(event, TextMessage):
                message = json.loads(event.data)
                told = Told(message["event"], message.get("id"), message.get("data"), time.time())
                self._waiting.append(told)
            elif isinstance(event, CloseConnection):
                self.closed = event.code
        return events


@asynccontextmanager
async def websocket(
    server: Served,
    query: Mapping[str, str] | None = None,
    /,
    *,
    headers: Mapping[str, str] | None = None,
    protocols: list[str] | None = None,
    path: str = "/api/v1/watch",
    **more: str,
) -> AsyncIterator[Ws]:
    """A watch over a WebSocket, with the local owner's key unless headers are given. Raises Refused."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        given = {"Authorization": f"Bearer {server.key}"} if headers is None else headers
        made = Ws(reader, writer)
        target = f"{path}?{urlencode({**(query or {}), **more})}"
        await made.open(f"{server.host}:{server.port}", target, given, protocols or [])
        yield made
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
