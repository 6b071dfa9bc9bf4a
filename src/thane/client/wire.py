"""HTTP/1.1 as bytes: addresses, requests and the heads of answers. Opens no connection.

Only what is needed to speak to one server: no redirects (a key must not travel on), no
compression, no cookies, no proxies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

BASE: Final = "/api/v1"
MOST_HEADERS: Final = 200
LONGEST_LINE: Final = 1 << 16
_UNFIT: Final = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is: a host and port, or a socket's path."""

    host: str
    port: int = 0
    tls: bool = False
    prefix: str = ""
    socket: str | None = None

    @property
    def shown(self) -> str:
        """For messages."""
        if self.socket is not None:
            return f"unix://{self.socket}"
        return f"{'https' if self.tls else 'http'}://{self.name}"

    @property
    def name(self) -> str:
        """The header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in (0, 443 if self.tls else 80) else f"{host}:{self.port}"


def address_of(url: str) -> Address:
    """`http://host:port`, `https://host/below` or `unix:///path/thane.sock`; ValueError for another."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return Address("localhost", socket=unquote(parts.path))
    if parts.scheme in ("http", "https") and parts.hostname and not parts.username:
        tls = parts.scheme == "https"
        port = parts.port if parts.port is not None else (443 if tls else 80)
        return Address(parts.hostname, port, tls, parts.path.rstrip("/").removesuffix(BASE))
    raise ValueError(f"{url!r} is no URL of a server: say http://HOST:PORT or unix:///PATH/thane.sock")


def target(path: str, values: Mapping[str, Any], query: Mapping[str, Any]) -> str:
    """The path below the address with its parameters filled in, and the query."""
    for name, value in values.items():
        text = _word(value)
        if text in ("", ".", ".."):
            raise ValueError(f"{name} is {text!r}; it must be an id")
        path = path.replace(f"{{{name}}}", quote(text, safe=""))
    pairs = [f"{quote(name)}={quote(_word(value), safe='')}" for name, value in query.items()]
    return BASE + path + ("?" + "&".join(pairs) if pairs else "")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_word, value))
    return str(value)


def request(address: Address, method: str, where: str, headers: Mapping[str, str], body: Any) -> bytes:
    """A whole request; `body` becomes JSON unless it is None or bytes."""
    fields = {"host": address.name, "accept": "application/json", **headers}
    if isinstance(body, bytes):
        content, fields["content-type"] = body, "application/octet-stream"
    elif body is not None:
        content, fields["content-type"] = json.dumps(body, ensure_ascii=False).encode(), "application/json"
    else:
        content = b""
    if method not in ("GET", "HEAD"):
        fields["content-length"] = str(len(content))
    lines = [f"{method} {address.prefix}{where} HTTP/1.1"]
    for name, value in fields.items():
        if _UNFIT.search(value):
            raise ValueError(f"the header {name} would have a line break in it")
        lines.append(f"{name}: {value}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers, their names in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def length(self) -> int | None:
        """Bytes of the body; None if it is in chunks or ends with the connection."""
        if self.status in (204, 304) or self.status < 200:
            return 0
        return None if self.chunked or "content-length" not in self.headers else self._length()

    def _length(self) -> int:
        text = self.headers["content-length"]
        if not text.isascii() or not text.isdigit():
            raise ValueError(f"Content-Length is {text!r}")
        return int(text)

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def keeps(self) -> bool:
        """Whether the connection can be used again after the body."""
        closing = self.headers.get("connection", "").lower() == "close"
        return not closing and (self.chunked or self.length is not None)

    @property
    def retry_after(self) -> float | None:
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() else None


def head_of(lines: list[bytes]) -> Head:
    """From the lines before the empty one; ValueError if they are no answer's."""
    version, _, rest = lines[0].partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit():
        raise ValueError(f"no HTTP answer: {lines[0][:80]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise ValueError(f"no header: {line[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    if version == b"HTTP/1.0":
        headers.setdefault("connection", "close")
    return Head(int(rest[:3]), headers)


class Events:
    """Server-sent events out of the bytes of a stream."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, part: bytes) -> list[tuple[str, Any]]:
        """The events (name, data) that are whole now; keep-alives are left out."""
        *frames, self._waiting = (self._waiting + part).split(b"\n\n")
        return [event for frame in frames if (event := _event(frame)) is not None]


def _event(frame: bytes) -> tuple[str, Any] | None:
    name, data = "", []
    for line in frame.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"event":
            name = value.strip().decode()
        elif field == b"data":
            data.append(value.removeprefix(b" "))
    return (name, json.loads(b"\n".join(data))) if data else None
