"""Port: how often may one ask? Taken twice: by address first, then by principal and tenant."""

from __future__ import annotations

from typing import Protocol

from thane.kernel.context import Principal


class Limits(Protocol):
    """Raises RateLimited with `retry_after`. Called on every request: must be cheap."""

    async def take_address(self, ip: str | None, operation: str) -> None:
        """By client address, and for the whole server."""

    async def take_principal(self, principal: Principal, operation: str) -> None:
        """By principal and by tenant."""
