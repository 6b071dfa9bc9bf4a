"""The few ASGI types and moves that the host needs, instead of a framework (docs/adr/0002)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from thane.kernel.errors import Malformed, TooLarge

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"
BYTES: Final = b"application/octet-stream"

# In the scope's state: the `Peer`, where our own server carries the request.
PEER: Final = "thane.peer"


class Peer(Protocol):
    """The connection under a request (`connection.py`), for what ASGI has no words for.

    `alone`: the task that works for this client only, and is cancelled when the client goes.
    `end_is_gone`: whether the end of what it sends is taken for its going; `has_ended`: it has come.
    """

    alone: asyncio.Task[Any] | None
    is_gone: bool
    end_is_gone: bool
    has_ended: bool

    def abort(self) -> None:
        """Cut the connection off, whatever waits in it."""

    def when_stalled(self, tell: Callable[[], None]) -> None:
        """Tell, instead of cutting it off, that the client takes nothing of what was sent."""

    def write_now(self, data: bytes) -> bool:
        """Put bytes of an answer that is under way on the wire, framed as they must be. False if they
        would have to wait, or the answer is not such: then nothing was written."""


def peer_of(scope: Scope) -> Peer | None:
    """The connection under a request; None in tests and for callers in the process."""
    found: Peer | None = scope.get("state", {}).get(PEER)
    return found


class Disconnected(Exception):
    """The client went away before its request was read."""


class Holds(Protocol):
    """Counts what bodies take in memory (`admission.Admission`)."""

    def hold(self, size: int) -> None: ...

    def let_go(self, size: int) -> None: ...


async def read_body(
    headers: Mapping[bytes, bytes],
    receive: Receive,
    most: int,
    holds: Holds | None = None,
    *,
    is_file: bool = False,
) -> bytes:
    """The whole body; TooLarge as soon as it is known to exceed `most`, without reading on.

    `is_file`: it is no JSON but a file's content, which has a limit of its own.
    `holds` has counted its bytes when it is returned, and refuses more than it has room for.
    """
    hint = "Send less, or raise `http.max_file_bytes` in the settings." if is_file else None
    length = headers.get(b"content-length")
    if length is not None:
        if not length.isdigit():
            raise Malformed("Content-Length is no number")
        if int(length) > most:
            raise TooLarge(f"the body has {int(length)} bytes; at most {most} are taken", hint=hint)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and len(body) <= most:
        if holds is not None:
            holds.hold(len(body))
        return body
    return await _read_on(body, message, receive, most, holds, hint)


async def _read_on(
    body: bytes,
    message: Mapping[str, Any],
    receive: Receive,
    most: int,
    holds: Holds | None,
    hint: str | None,
) -> bytes:
    parts, size, held = [body], len(body), 0
    try:
        while True:
            if size > most:
                raise TooLarge(f"the body has more than {most} bytes", hint=hint)
            if holds is not None:
                holds.hold(size - held)
                held = size
            if not message.get("more_body"):
                break
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            parts.append(message.get("body", b""))
            size += len(parts[-1])
    except BaseException:
        if holds is not None:
            holds.let_go(held)
        raise
    return b"".join(parts)


async def respond(send: Send, status: int, headers: Headers, body: bytes, *, head: bool = False) -> None:
    """One whole answer; `head` leaves the body out and keeps its length."""
    if status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head or status in (204, 304) else body})
