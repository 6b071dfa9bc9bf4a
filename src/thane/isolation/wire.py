"""The socket protocol's frames: a JSON header and raw bytes, each with its length.

`header length (4 bytes, big-endian) | body length (4 bytes) | header | body`. A header
is a JSON object whose `t` names the frame's type and whose `id` names the stream, so
that many jobs share one connection. This module reads and writes frames; what they
mean is `server`'s affair, and docs/isolation.md lists them.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

VERSION = 1
MAX_HEADER = 1 << 20
MAX_BODY = 512 << 20

_LENGTHS = struct.Struct("!II")
_AS_TEXT = json.JSONEncoder(separators=(",", ":")).encode

Header = dict[str, Any]


class ProtocolError(Exception):
    """The peer sent something that is not a frame; the connection is of no more use."""


def encode(header: Header, body: bytes = b"") -> bytes:
    text = _AS_TEXT(header).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


async def read(reader: asyncio.StreamReader) -> tuple[Header, bytes] | None:
    """The next frame, or None when the peer has closed between two frames."""
    try:
        lengths = await reader.readexactly(_LENGTHS.size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ProtocolError("the connection ended inside a frame's lengths") from error
        return None
    header_length, body_length = _LENGTHS.unpack(lengths)
    if header_length > MAX_HEADER or body_length > MAX_BODY:
        raise ProtocolError(f"a frame of {header_length} + {body_length} bytes is too large")
    try:
        text = await reader.readexactly(header_length)
        body = await reader.readexactly(body_length)
    except asyncio.IncompleteReadError as error:
        raise ProtocolError("the connection ended inside a frame") from error
    return decode_header(text), body


def decode_header(text: bytes) -> Header:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"a frame's header is not JSON: {error}") from error
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise ProtocolError("a frame's header is not an object with a type `t`")
    return header
