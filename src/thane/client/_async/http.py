"""Requests and answers over connections that are used again. Decides nothing about repeating."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from thane.client._async.streams import AsyncStream
from thane.client.policy import Deadline
from thane.client.problem import HungUp, UnexpectedAnswer
from thane.client.wire import MOST_HEADERS, Address, Head, head_of

# Shorter than the five seconds after which the server closes a connection that nobody uses.
IDLE_SECONDS: Final = 4.0
MOST_IDLE: Final = 16
PART: Final = 1 << 16


class AsyncHttp:
    """Connections to one address, for any number of calls at a time."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: deque[tuple[float, AsyncStream]] = deque()
        self._closed = False

    async def send(self, request: bytes, deadline: Deadline, *, fresh: bool) -> AsyncAnswer:
        """Send a request and read the head of its answer. `fresh`: over a new connection.

        A connection from before may have ended unseen, so whoever may not repeat asks for a new one.
        """
        if self._closed:
            raise RuntimeError("this client is closed")
        while not fresh and (stream := await self._take()) is not None:
            try:
                return await self._ask(stream, request, deadline)
            except HungUp:
                continue
        return await self._ask(await AsyncStream.connect(self.address, deadline), request, deadline)

    async def _take(self) -> AsyncStream | None:
        while self._idle:
            try:
                since, stream = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if time.monotonic() - since < IDLE_SECONDS and stream.quiet:
                return stream
            await stream.close()
        return None

    async def _ask(self, stream: AsyncStream, request: bytes, deadline: Deadline) -> AsyncAnswer:
        try:
            await stream.write(request, deadline)
            head = await _head(stream, deadline)
        except BaseException:
            await stream.close()
            raise
        return AsyncAnswer(self, stream, head, deadline)

    async def give_back(self, stream: AsyncStream) -> None:
        """A connection whose answer was read to its end."""
        if self._closed or len(self._idle) >= MOST_IDLE:
            await stream.close()
        else:
            self._idle.append((time.monotonic(), stream))

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop()[1].close()


class AsyncAnswer:
    """An answer whose body is still on its way. Close it if you do not read it to its end."""

    def __init__(self, http: AsyncHttp, stream: AsyncStream, head: Head, deadline: Deadline) -> None:
        self.head = head
        self._http = http
        self._stream = stream
        self._deadline = deadline
        self._done = False
        self._closed = False

    async def read(self) -> bytes:
        """The whole body. HungUp if it broke off."""
        try:
            return b"".join([part async for part in self.parts()])
        finally:
            await self.close()

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        if self.head.chunked:
            while size := await self._chunk_size():
                async for part in self._exactly(size):
                    yield part
                await self._stream.line(self._deadline)
            while await self._stream.line(self._deadline):
                pass
        elif self.head.length is None:
            while part := await self._stream.some(PART, self._deadline):
                yield part
        else:
            async for part in self._exactly(self.head.length):
                yield part
        self._done = True

    async def _chunk_size(self) -> int:
        line = await self._stream.line(self._deadline)
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError as fault:
            raise HungUp("the answer cannot be read: a chunk without its size") from fault

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            part = await self._stream.some(min(size, PART), self._deadline)
            if not part:
                raise HungUp("the answer broke off")
            size -= len(part)
            yield part

    async def close(self) -> None:
        """Give the connection back if the body was read to its end, else hang up."""
        if self._closed:
            return
        self._closed = True
        if self._done and self.head.keeps:
            await self._http.give_back(self._stream)
        else:
            await self._stream.close()


async def _head(stream: AsyncStream, deadline: Deadline) -> Head:
    while True:
        lines = [await stream.line(deadline)]
        while lines[-1] and len(lines) < MOST_HEADERS:
            lines.append(await stream.line(deadline))
        try:
            head = head_of(lines[:-1])
        except (ValueError, IndexError) as fault:
            raise UnexpectedAnswer(f"{fault}", "Check that the URL is a Thane server's.") from fault
        if head.status >= 200:  # 1xx only announce
            return head
