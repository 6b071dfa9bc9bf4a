"""Requests and answers over connections that are used again. Decides nothing about repeating.

Made by `just sdk` from `_async`; do not edit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from thane.client._sync.streams import Stream
from thane.client.policy import Deadline
from thane.client.problem import HungUp, UnexpectedAnswer
from thane.client.wire import MOST_HEADERS, Address, Head, head_of

# Shorter than the five seconds after which the server closes a connection that nobody uses.
IDLE_SECONDS: Final = 4.0
MOST_IDLE: Final = 16
PART: Final = 1 << 16


class Http:
    """Connections to one address, for any number of calls at a time."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: deque[tuple[float, Stream]] = deque()
        self._closed = False

    def send(self, request: bytes, deadline: Deadline, *, fresh: bool) -> Answer:
        """Send a request and read the head of its answer. `fresh`: over a new connection.

        A connection from before may have ended unseen, so whoever may not repeat asks for a new one.
        """
        if self._closed:
            raise RuntimeError("this client is closed")
        while not fresh and (stream := self._take()) is not None:
            try:
                return self._ask(stream, request, deadline)
            except HungUp:
                continue
        return self._ask(Stream.connect(self.address, deadline), request, deadline)

    def _take(self) -> Stream | None:
        while self._idle:
            try:
                since, stream = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if time.monotonic() - since < IDLE_SECONDS and stream.quiet:
                return stream
            stream.close()
        return None

    def _ask(self, stream: Stream, request: bytes, deadline: Deadline) -> Answer:
        try:
            stream.write(request, deadline)
            head = _head(stream, deadline)
        except BaseException:
            stream.close()
            raise
        return Answer(self, stream, head, deadline)

    def give_back(self, stream: Stream) -> None:
        """A connection whose answer was read to its end."""
        if self._closed or len(self._idle) >= MOST_IDLE:
            stream.close()
        else:
            self._idle.append((time.monotonic(), stream))

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop()[1].close()


class Answer:
    """An answer whose body is still on its way. Close it if you do not read it to its end."""

    def __init__(self, http: Http, stream: Stream, head: Head, deadline: Deadline) -> None:
        self.head = head
        self._http = http
        self._stream = stream
        self._deadline = deadline
        self._done = False
        self._closed = False

    def read(self) -> bytes:
        """The whole body. HungUp if it broke off."""
        try:
            return b"".join([part for part in self.parts()])
        finally:
            self.close()

    def parts(self) -> Iterator[bytes]:
        """The body as it comes."""
        if self.head.chunked:
            while size := self._chunk_size():
                for part in self._exactly(size):
                    yield part
                self._stream.line(self._deadline)
            while self._stream.line(self._deadline):
                pass
        elif self.head.length is None:
            while part := self._stream.some(PART, self._deadline):
                yield part
        else:
            for part in self._exactly(self.head.length):
                yield part
        self._done = True

    def _chunk_size(self) -> int:
        line = self._stream.line(self._deadline)
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError as fault:
            raise HungUp("the answer cannot be read: a chunk without its size") from fault

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            part = self._stream.some(min(size, PART), self._deadline)
            if not part:
                raise HungUp("the answer broke off")
            size -= len(part)
            yield part

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else hang up."""
        if self._closed:
            return
        self._closed = True
        if self._done and self.head.keeps:
            self._http.give_back(self._stream)
        else:
            self._stream.close()


def _head(stream: Stream, deadline: Deadline) -> Head:
    while True:
        lines = [stream.line(deadline)]
        while lines[-1] and len(lines) < MOST_HEADERS:
            lines.append(stream.line(deadline))
        try:
            head = head_of(lines[:-1])
        except (ValueError, IndexError) as fault:
            raise UnexpectedAnswer(f"{fault}", "Check that the URL is a Thane server's.") from fault
        if head.status >= 200:  # 1xx only announce
            return head
