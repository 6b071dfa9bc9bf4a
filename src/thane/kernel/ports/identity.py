"""Port: from a bearer token to who is asking. Implemented by the domain `accounts`."""

from __future__ import annotations

from typing import Protocol

import msgspec

from thane.kernel.context import Principal


class Identified(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and the project they mean when they name none (the tenant's default project)."""

    principal: Principal
    project_id: str | None = None


class Identity(Protocol):
    """Implementations cache, and must notice a key revoked in their own process at once."""

    async def identify(self, bearer: str) -> Identified:
        """The owner of a valid token. Raises Unauthorized for an unknown, expired or revoked one."""

    async def local_owner(self) -> Identified:
        """Who acts through the data folder's own socket: the local owner's key."""
