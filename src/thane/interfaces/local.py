"""Call operations from this machine: inside this process, or over a data folder's socket.

The CLI uses one `Caller`, so a command works the same whether it owns the folder or finds
a running server there. Both ways go through the whole HTTP host; there is no third door.
Only what that host answers is understood here: HTTP/1.1 with a length or chunks, and SSE.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from thane.interfaces.sockets import short_path
from thane.kernel.errors import ConnectionFailed, Invalid

OWNER: Final = "thane.owner"
MAX_LINE: Final = 8 << 20

OnEvent = Callable[[str, Any], None]


class NobodyAnswers(ConnectionFailed):
    """No connection was made, so nothing of the request was sent: it may be sent again, whatever it is."""

    code = "nobody_answers"
    title = "Nobody answers on the socket"
    default_hint = "Start `thane serve`, or remove the socket file if no server runs."


class Answer(msgspec.Struct, frozen=True):
    """What came back. `body` is decoded JSON, bytes where the answer is a file, None if there was none;
    a problem has status >= 400."""

    status: int
    headers: dict[str, str]
    body: Any


class Caller(Protocol):
    """One way to call; made once, used for any number of requests."""

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        on_event: OnEvent | None = None,
    ) -> Answer:
        """One request; a body of bytes goes as it is. With `on_event` it is a stream: events go there as
        they come, and the answer is the `result` (status 200), the `end` of a watch, or the problem of
        the `error` event. Cancelling hangs up."""


class InProcess:
    """Calls an ASGI application in this process, as the data folder's owner."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        on_event: OnEvent | None = None,
    ) -> Answer:
        sent = _body(body)
        name, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": name,
            "query_string": query.encode(),
            "headers": _headers(sent, headers, on_event),
            "client": None,
            OWNER: True,
        }
        parts: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        gone = asyncio.Event()
        asked = False

        async def receive() -> Mapping[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": sent, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        work = asyncio.create_task(self._app(scope, receive, parts.put))
        # Without an end the reader below would wait for ever on an application that broke.
        work.add_done_callback(lambda _: parts.put_nowait({"type": "end"}))
        try:
            start = await parts.get()
            if start["type"] == "end":
                raise ConnectionFailed("the request was not answered")
            found = {n.decode("latin-1"): v.decode("latin-1") for n, v in start["headers"]}
            return await _read(start["status"], found, _parts(parts), on_event)
        finally:
            gone.set()
            await asyncio.wait({work})


class UnixSocket:
    """Calls the server that owns a data folder, one connection per request."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        on_event: OnEvent | None = None,
    ) -> Answer:
        sent = _body(body)
        fields = _headers(sent, headers, on_event)
        try:
            with short_path(self._path) as short:
                reader, writer = await asyncio.open_unix_connection(short, limit=MAX_LINE)
        except OSError as fault:
            raise NobodyAnswers(f"nobody answers on {self._path}") from fault
        try:
            lines = [f"{method} {path} HTTP/1.1".encode(), b"host: localhost", b"connection: close"]
            lines += [name + b": " + value for name, value in fields]
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + sent)
            await writer.drain()
            status, found = await _head(reader)
            return await _read(status, found, _wire(reader, found), on_event)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as fault:
            raise ConnectionFailed("the server hung up before it had answered") from fault
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


# -- shared -----------------------------------------------------------------------------


def _body(body: Any) -> bytes:
    try:
        if isinstance(body, bytes):
            return body
        return b"" if body is None else msgspec.json.encode(body)
    except UnicodeEncodeError as fault:  # arguments that are no text come as lone surrogates
        bad = fault.object[: fault.start + 20].encode("utf-8", "backslashreplace").decode()
        raise Invalid(
            f"{bad!r} is not valid UTF-8", hint="Give text; bytes of any other kind go into a --file."
        ) from fault


def _headers(
    sent: bytes, more: Mapping[str, str] | None, on_event: OnEvent | None
) -> list[tuple[bytes, bytes]]:
    made = [(b"content-length", b"%d" % len(sent))]
    if sent:
        made.append((b"content-type", b"application/json"))
    if on_event is not None:
        made.append((b"accept", b"text/event-stream"))
    for name, value in (more or {}).items():
        if "\r" in value or "\n" in value:
            raise ValueError(f"the header {name} has a line break")
        made.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    return made


async def _parts(queue: asyncio.Queue[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    while True:
        message = await queue.get()
        if message["type"] == "end":
            raise ConnectionFailed("the answer broke off")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    line = (await reader.readuntil(b"\r\n")).split(b" ", 2)
    headers: dict[str, str] = {}
    while (field := await reader.readuntil(b"\r\n")) != b"\r\n":
        name, _, value = field.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(line[1]), headers


async def _wire(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        return
    length = int(headers.get("content-length", "0"))
    if length:
        yield await reader.readexactly(length)


async def _read(
    status: int, headers: dict[str, str], parts: AsyncIterator[bytes], on_event: OnEvent | None
) -> Answer:
    if not headers.get("content-type", "").startswith("text/event-stream"):
        body = b"".join([part async for part in parts])
        if headers.get("content-type") == "application/octet-stream":
            return Answer(status, headers, body)
        return Answer(status, headers, msgspec.json.decode(body) if body else None)
    ended: tuple[str, Any] | None = None
    waiting = b""
    async for part in parts:
        *frames, waiting = (waiting + part).split(b"\n\n")
        for frame in frames:
            name, data = _event(frame)
            if name in ("result", "error", "end"):
                ended = name, data
            elif name and on_event is not None:
                on_event(name, data)
    if ended is None:
        raise ConnectionFailed("the stream ended without a result")
    name, data = ended
    return Answer(int(data["status"]) if name == "error" else status, headers, data)


def _event(frame: bytes) -> tuple[str, Any]:
    name, data = "", b""
    for line in frame.split(b"\n"):
        field, _, value = line.partition(b": ")
        if field == b"event":
            name = value.decode()
        elif field == b"data":
            data += value
    return name, msgspec.json.decode(data) if data else None
