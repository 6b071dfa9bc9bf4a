"""Port: may this principal do that? The kernel's own answer reads the names the principal carries."""

from __future__ import annotations

from typing import Any, Protocol

from thane.kernel.context import Context
from thane.kernel.errors import Denied


class Permissions(Protocol):
    async def authorise(self, context: Context, needs: str, request: Any) -> None:
        """Return if allowed; raises Denied with the permission's name. Must not write."""


class NamedPermissions:
    """Allows what the principal's `permissions` name: `sandboxes.execute`, `sandboxes.*`, `*`."""

    async def authorise(self, context: Context, needs: str, request: Any) -> None:
        held = context.principal.permissions
        if needs in held or "*" in held or needs.partition(".")[0] + ".*" in held:
            return
        raise Denied(
            f"{context.principal.id} lacks the permission {needs}",
            hint=f"Ask an owner of the project to grant `{needs}`.",
            extra={"needs": needs},
        )
