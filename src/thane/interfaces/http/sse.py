"""An effect as a stream of server-sent events: progress as it comes, then `result` or `error`.

Nothing is sent before the first event or the end, so what is refused before it acted is an
ordinary problem with its status. A client that reads too slowly loses progress, told by a
`gap` event, never the result.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from thane.interfaces.http.asgi import Headers, Send
from thane.interfaces.http.problem import defect, problem_of
from thane.kernel.answers import encode
from thane.kernel.errors import ThaneError
from thane.kernel.operations.call import Reply

MOST_WAITING: Final = 4096
KEEP_ALIVE_SECONDS: Final = 15.0


class EventQueue:
    """What waits to be sent. `put` is the call's listener: it never waits."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._events: deque[msgspec.Struct] = deque()
        self._most = most
        self._dropped = 0
        self.bell = asyncio.Event()

    def put(self, event: msgspec.Struct) -> None:
        if len(self._events) >= self._most:
            self._dropped += 1
        else:
            self._events.append(event)
        self.bell.set()

    def take(self) -> list[bytes]:
        """All that waits, as SSE text without ids."""
        self.bell.clear()
        frames = [frame(event.__struct_config__.tag or "progress", encode(event)) for event in self._events]
        self._events.clear()
        if self._dropped:
            frames.append(frame("gap", encode({"dropped": self._dropped})))
            self._dropped = 0
        return frames


def frame(name: Any, data: bytes) -> bytes:
    """One event. JSON has no raw line breaks, so it is one `data` line."""
    return b"event: %s\ndata: %s\n\n" % (str(name).encode(), data)


async def stream(
    queue: EventQueue,
    work: asyncio.Task[Reply],
    send: Send,
    headers: Headers,
    request_id: str,
    refuse: Callable[[BaseException], Awaitable[None]],
) -> None:
    """Send events until `work` is done, then its end. `refuse` answers what failed before the first byte."""
    work.add_done_callback(lambda _: queue.bell.set())
    await queue.bell.wait()
    first = queue.take()
    if not first and work.done() and not work.cancelled() and (error := work.exception()) is not None:
        await refuse(error)
        return
    headers += [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    frames = first
    while True:
        if frames:
            await send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})
        if work.done():
            frames = queue.take()
            break
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                await queue.bell.wait()
            frames = queue.take()
        except TimeoutError:
            frames = [b": keep-alive\n\n"]
    frames.append(_end(work, request_id))
    await send({"type": "http.response.body", "body": b"".join(frames)})


def _end(work: asyncio.Task[Reply], request_id: str) -> bytes:
    error = None if work.cancelled() else work.exception()
    if work.cancelled() or (error is not None and not isinstance(error, ThaneError)):
        error = defect(request_id)
    if isinstance(error, ThaneError):
        return frame("error", encode(problem_of(error, request_id)))
    return frame("result", work.result().body)
