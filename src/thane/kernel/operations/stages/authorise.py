"""Stage: may they? The answer is the port's; this only skips what needs no permission."""

from __future__ import annotations

from thane.kernel.context import PrincipalKind
from thane.kernel.operations.call import Call
from thane.kernel.ports.permissions import Permissions


class Authorise:
    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions

    async def __call__(self, call: Call) -> None:
        """Denied if the principal lacks what the operation needs. Principal `system` is Thane itself."""
        context, bound = call.known, call.operation
        if bound.declaration.anonymous or context.principal.kind is PrincipalKind.SYSTEM:
            return
        await self._permissions.authorise(context, bound.needs, call.request)
