"""One of a job's output streams: read as it comes, cut at its limit, sent in decent pieces.

A piece goes out at once when nothing went out in the last 50 ms; what follows sooner
waits for that time to pass or for 64 KB, so a busy program does not make a frame per
line. Bytes are never decoded or changed. What comes after the limit is read and dropped, at a
pace that leaves the processor to others: a pipe full each 2 ms, some 30 MB/s.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

PIECE = 1 << 16
INTERVAL = 0.05
_PAUSE = 0.002


class Output:
    """Reads `descriptor`, which it owns, until its end. `done` is set when it has ended."""

    def __init__(self, descriptor: int, limit: int, send: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._left = limit
        self._send = send
        self._waiting = bytearray()
        self._last_sent = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.truncated = False
        self.done = asyncio.Event()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._readable)

    def _readable(self) -> bool:
        """Take one piece; False when there is none now."""
        try:
            data = os.read(self._descriptor, PIECE)
        except BlockingIOError:
            return False
        if not data:
            self.close()
        elif not self.truncated:
            self._keep(data)
        elif self._pause is None:
            self._loop.remove_reader(self._descriptor)
            self._pause = self._loop.call_later(_PAUSE, self._go_on)
        return bool(data)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._descriptor, self._readable)

    def _keep(self, data: bytes) -> None:
        kept = data[: self._left]
        self._left -= len(kept)
        self._waiting += kept
        if len(kept) < len(data):
            self.truncated = True
            self._waiting += (
                f"\n[output limit of {self._limit} bytes reached; the rest was dropped]\n".encode()
            )
        self._offer()

    def _offer(self) -> None:
        now = self._loop.time()
        if len(self._waiting) >= PIECE or now - self._last_sent >= INTERVAL:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._last_sent + INTERVAL, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        data = bytes(self._waiting)
        self._waiting.clear()
        self._last_sent = self._loop.time()
        for start in range(0, len(data), PIECE):
            self._send(data[start : start + PIECE])

    def drain(self) -> None:
        """Take what is in the pipe now, without waiting for its end, and close it."""
        while not self.done.is_set() and self._readable():
            pass
        self.close()

    def close(self) -> None:
        if self.done.is_set():
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._flush()
        self.done.set()
