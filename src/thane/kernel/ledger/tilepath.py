"""Names and encodings of c2sp.org/tlog-tiles: where a tile or an entry bundle is served.

Text and bytes only; it must not read a store or decide which tiles exist.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from thane.kernel.ledger.errors import BundleInvalid, TilePathInvalid
from thane.kernel.ledger.tree import TILE_WIDTH

#: The longest entry that a bundle's uint16 length prefix can hold, in bytes.
MAX_ENTRY_BYTES: Final = 65_535
MAX_LEVEL: Final = 63

# An index of 63 bits has at most 19 digits, hence seven elements.
_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<n>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


class TilePath(NamedTuple):
    """What a path names: tile `n` of `level`, or bundle `n` of entries (`level` None); `width` 1 to 256."""

    level: int | None
    n: int
    width: int


def tile_path(level: int, n: int, width: int = TILE_WIDTH) -> str:
    """`tile/0/x001/234` or, for a partial tile, `tile/0/x001/234.p/17`. Raises ValueError out of range."""
    if not 0 <= level <= MAX_LEVEL:
        raise ValueError(f"a tile's level is 0 to {MAX_LEVEL}, not {level}")
    return f"tile/{level}/{_index(n)}{_suffix(width)}"


def entries_path(n: int, width: int = TILE_WIDTH) -> str:
    """`tile/entries/x001/234`, with `.p/W` for a partial bundle. Raises ValueError out of range."""
    return f"tile/entries/{_index(n)}{_suffix(width)}"


def parse_tile_path(path: str) -> TilePath:
    """What `path` names. Raises TilePathInvalid for all but the one spelling that the format gives it."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise TilePathInvalid(f"{path!r} names no tile")
    level = None if found["level"] == "entries" else int(found["level"])
    n = int(found["n"].replace("x", "").replace("/", ""))
    width = int(found["width"] or TILE_WIDTH)
    if (level or 0) > MAX_LEVEL or n >= 1 << 63 or (found["width"] and width >= TILE_WIDTH):
        raise TilePathInvalid(f"{path!r} names no tile: a number in it is out of range")
    parsed = TilePath(level, n, width)
    spelled = entries_path(n, width) if level is None else tile_path(level, n, width)
    if spelled != path:
        raise TilePathInvalid(f"{path!r} is spelled {spelled!r}")
    return parsed


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry behind its length as big-endian uint16. Raises ValueError for a longer one
    and for more than 256."""
    if len(entries) > TILE_WIDTH:
        raise ValueError(f"a bundle holds at most {TILE_WIDTH} entries, not {len(entries)}")
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(
                f"an entry of {len(entry)} bytes does not fit a bundle ({MAX_ENTRY_BYTES} at most)"
            )
        parts.append(struct.pack(">H", len(entry)))
        parts.append(entry)
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises BundleInvalid if it is cut, or holds more than 256."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        if len(entries) == TILE_WIDTH:
            raise BundleInvalid(f"an entry bundle holds at most {TILE_WIDTH} entries")
        stop = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or stop > len(data):
            raise BundleInvalid(f"an entry bundle ends in the middle of entry {len(entries)}")
        entries.append(data[at + 2 : stop])
        at = stop
    return entries


def _index(n: int) -> str:
    if not 0 <= n < 1 << 63:
        raise ValueError(f"a tile's index is 0 to 2^63 - 1, not {n}")
    last = f"{n % 1000:03d}"
    while n >= 1000:
        n //= 1000
        last = f"x{n % 1000:03d}/{last}"
    return last


def _suffix(width: int) -> str:
    if not 1 <= width <= TILE_WIDTH:
        raise ValueError(f"a tile's width is 1 to {TILE_WIDTH}, not {width}")
    return "" if width == TILE_WIDTH else f".p/{width}"
