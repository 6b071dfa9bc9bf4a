"""A connection, with asyncio. The twin of `_sync/streams.py`, written by hand: only these two differ."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Final

from thane.client.policy import Deadline
from thane.client.problem import HungUp, Unreached
from thane.client.sockets import short_path
from thane.client.wire import LONGEST_LINE, Address

START: Final = "Start it with `thane serve`, or correct the URL (THANE_URL)."
_Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AsyncStream:
    """Bytes there and back, each step within a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ended = False

    @classmethod
    async def connect(cls, address: Address, deadline: Deadline) -> AsyncStream:
        """Unreached if nobody answers, TimedOut if nobody answers in time."""
        try:
            async with asyncio.timeout(deadline.check()):
                return cls(*await _connected(address))
        except TimeoutError as fault:
            raise deadline.over() from fault
        except OSError as fault:
            raise Unreached(f"nobody answers at {address.shown} ({fault})", START) from fault

    async def write(self, data: bytes, deadline: Deadline) -> None:
        try:
            self._writer.write(data)
            async with asyncio.timeout(deadline.check()):
                await self._writer.drain()
        except TimeoutError as fault:
            raise deadline.over() from fault
        except OSError as fault:
            raise HungUp(f"the server hung up ({fault})") from fault

    async def line(self, deadline: Deadline) -> bytes:
        """Up to the next line's end, which is left out."""
        try:
            async with asyncio.timeout(deadline.check()):
                return (await self._reader.readuntil(b"\r\n"))[:-2]
        except TimeoutError as fault:
            raise deadline.over() from fault
        except asyncio.LimitOverrunError as fault:
            raise HungUp("the server sent a line without an end") from fault
        except asyncio.IncompleteReadError as fault:
            raise HungUp("the server hung up before it had answered") from fault
        except OSError as fault:
            raise HungUp(f"the connection broke ({fault})") from fault

    async def some(self, most: int, deadline: Deadline) -> bytes:
        """1 to `most` bytes, as soon as there are any; none at the stream's end."""
        try:
            async with asyncio.timeout(deadline.check()):
                return await self._reader.read(most)
        except TimeoutError as fault:
            raise deadline.over() from fault
        except OSError:
            return b""

    @property
    def quiet(self) -> bool:
        """Whether the other end has not hung up: fit for another request."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def close(self) -> None:
        # What is written has been read or is of no use any more: there is nothing to wait for but the end.
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def _connected(address: Address) -> _Pair:
    if address.socket is not None:
        with short_path(address.socket) as path:
            return await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
    context = ssl.create_default_context() if address.tls else None
    pair = await asyncio.open_connection(address.host, address.port, ssl=context, limit=LONGEST_LINE)
    one = pair[1].get_extra_info("socket")
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return pair


async def wait(seconds: float) -> None:
    """Between two attempts."""
    await asyncio.sleep(seconds)
