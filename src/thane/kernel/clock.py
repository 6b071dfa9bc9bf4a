"""Time, as microseconds since 1970 in UTC. The only place that asks the system's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """What tells the time. Tests give one of their own."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000


def to_us(value: datetime) -> int:
    """A datetime with a zone as microseconds; ValueError without a zone."""
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone")
    since = value - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(value: int) -> datetime:
    """Microseconds as a datetime in UTC."""
    return EPOCH + timedelta(0, 0, value)
