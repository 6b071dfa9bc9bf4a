"""The few ASGI types and moves that the host needs, instead of a framework (docs/adr/0002)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from thane.kernel.errors import Malformed, TooLarge

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"
BYTES: Final = b"application/octet-stream"


class Disconnected(Exception):
    """The client went away before its request was read."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, most: int, is_file: str = "") -> bytes:
    """The whole body; TooLarge as soon as it is known to exceed `most`, without reading on.

    `is_file`: it is no JSON but a file's content, which has a limit of its own.
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
    if len(body) <= most and not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    while message.get("more_body") and size <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
    if size > most:
        raise TooLarge(f"the body has more than {most} bytes", hint=hint)
    return b"".join(parts)


async def respond(send: Send, status: int, headers: Headers, body: bytes, *, head: bool = False) -> None:
    """One whole answer; `head` leaves the body out and keeps its length."""
    if status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head or status in (204, 304) else body})
