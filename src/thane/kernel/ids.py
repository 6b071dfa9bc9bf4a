"""Identifiers: UUIDv7 (RFC 9562, section 5.7) shown as `prefix_` and 32 hex digits.

Ids order by time to a quarter of a microsecond (method 3 of section 6.2: the 12 bits
after the milliseconds hold the fraction), so that rows made together lie together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from thane.kernel.clock import Clock, SystemClock

ID_PATTERN = re.compile(r"[a-z]{2,6}_[0-9a-f]{32}\Z")


class IdFactory:
    """Makes ids. The clock and the random source can be replaced in tests."""

    def __init__(self, clock: Clock | None = None, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock or SystemClock()
        self._random = random_bytes

    def new(self, prefix: str) -> str:
        milliseconds, fraction = divmod(self._clock.now_us(), 1000)
        random = int.from_bytes(self._random(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
        high = (milliseconds << 16) | 0x7000 | (fraction << 12) // 1000
        return f"{prefix}_{high:016x}{0x8000_0000_0000_0000 | random:016x}"


def is_id(text: str, prefix: str | None = None) -> bool:
    """Whether `text` has the form of an id, and of this prefix if one is given."""
    return ID_PATTERN.match(text) is not None and (prefix is None or text.startswith(prefix + "_"))
