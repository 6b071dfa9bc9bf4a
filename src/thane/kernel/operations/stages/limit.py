"""Stage: how often may one ask? First by address, before any work is done for a stranger."""

from __future__ import annotations

from thane.kernel.operations.call import Call
from thane.kernel.ports.limits import Limits


class Limit:
    """Both takes of the limit."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def by_address(self, call: Call) -> None:
        """RateLimited for an address that asks too much. Jobs and the owner's socket have no address."""
        if call.ip is not None:
            await self._limits.take_address(call.ip, call.operation.name)

    async def by_principal(self, call: Call) -> None:
        """RateLimited for a principal or a tenant."""
        await self._limits.take_principal(call.known.principal, call.operation.name)
