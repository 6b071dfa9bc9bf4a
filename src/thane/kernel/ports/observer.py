"""Port: what the pipeline tells the meters about each request it has answered."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called once per request, after its answer stands. Must not wait and must not raise."""

    def answered(self, operation: str, status: int, code: str | None, seconds: float) -> None:
        """`code` is the error's code, None for success."""

    def access_rows_dropped(self, count: int) -> None:
        """Access rows that could not be kept because the store takes none."""
