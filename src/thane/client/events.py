"""What comes while a program runs: output, samples of its use, and at the end its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from thane.client.convert import read


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Bytes as the program wrote them."""

    seq: int
    stream: Literal["stdout", "stderr"]
    data: bytes

    @property
    def text(self) -> str:
        """As text; what is no UTF-8 is replaced."""
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Use at one moment, in per cent of the limits."""

    seq: int
    timestamp: datetime
    cpu_usage: Decimal
    memory_usage: Decimal
    disk_usage: Decimal
    network_usage: dict[str, Any] = field(default_factory=dict)
    custom_metrics: dict[str, Any] = field(default_factory=dict)
    source: str = "sampler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """You read too slowly, and this many events were dropped; the result still comes, with all output."""

    dropped: int


Progress: TypeAlias = Output | Sample | Gap


class Reader:
    """Turns a stream's events into progress, without what an earlier connection brought already."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def progress(self, name: str, data: Any) -> Progress | None:
        """None for what was there before, and for kinds of events that this package does not know."""
        if name == "gap":
            return read(Gap, data)
        if name not in ("output", "sample"):
            return None
        seq = data.get("seq")
        if isinstance(seq, int):
            if seq <= self._seen.get(name, -1):
                return None
            self._seen[name] = seq
        return read(Output, data) if name == "output" else read(Sample, data)
