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
        await self._permissions.authorise(context, needs_of(call), call.request)


def needs_of(call: Call) -> str:
    """The permission that a validated call needs. Raises what the operation's own `needs_of` raises."""
    declaration = call.operation.declaration
    if declaration.needs_of is None:
        return call.operation.needs
    return declaration.needs_of(call.operation.service, call.request)
