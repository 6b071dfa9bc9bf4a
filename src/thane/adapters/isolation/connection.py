"""One connection to the isolation program: many requests at once, each with a stream of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from thane.adapters.isolation import frames
from thane.adapters.isolation.frames import Header

Frame = tuple[Header, bytes]


class ConnectionLost(Exception):
    """The program is gone; what ran over this connection is lost."""


class Connection:
    """Made by `open`; frames that come are sorted to the streams that wait for them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._streams: dict[int, asyncio.Queue[Frame | None]] = {}
        self._next = 0
        self._reading: asyncio.Task[None] | None = None
        self.alive = True

    @classmethod
    async def open(cls, connection: socket.socket, server_name: str) -> Connection:
        """Say hello. Raises ConnectionLost if the program ends meanwhile, ValueError if it refuses us."""
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            writer.write(
                frames.encode({"t": "hello", "versions": [frames.VERSION], "server_name": server_name})
            )
            header, _ = await frames.read(reader)
        except (EOFError, ConnectionError) as error:
            writer.close()
            raise ConnectionLost("the isolation program ended while we greeted it") from error
        if header["t"] != "hello":
            writer.close()
            raise ValueError(f"{header.get('message', 'no greeting')} {header.get('hint', '')}".strip())
        made = cls(reader, writer)
        made._reading = asyncio.create_task(made._sort())
        return made

    async def _sort(self) -> None:
        try:
            while True:
                header, body = await frames.read(self._reader)
                queue = self._streams.get(header["id"])
                if queue is not None:
                    queue.put_nowait((header, body))
        except EOFError:
            return  # said to every stream below
        finally:
            self.alive = False
            self._writer.close()
            for queue in self._streams.values():
                queue.put_nowait(None)

    @asynccontextmanager
    async def stream(self, header: Header, body: bytes = b"") -> AsyncIterator[Stream]:
        """Send a request and have its answers; leaving forgets the stream, whatever still comes."""
        self._next += 1
        number = self._next
        queue: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._streams[number] = queue
        try:
            if not self.alive:
                raise ConnectionLost("the isolation program is gone")
            self._writer.write(frames.encode({**header, "id": number}, body))
            await self._drain()
            yield Stream(queue)
        finally:
            del self._streams[number]

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise ConnectionLost("the isolation program is gone") from error

    def say(self, header: Header) -> None:
        """A request whose answer nobody waits for."""
        if self.alive:
            self._writer.write(frames.encode({**header, "id": 0}))

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self.alive = False
        self._writer.close()  # the reader closes it too, unless it was cancelled before it began
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return  # it was gone before us


class Stream:
    """The answers to one request, in order."""

    def __init__(self, queue: asyncio.Queue[Frame | None]) -> None:
        self._queue = queue

    async def next(self) -> Frame:
        frame = await self._queue.get()
        if frame is None:
            raise ConnectionLost("the isolation program ended")
        return frame
