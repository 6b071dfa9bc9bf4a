"""Users.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._async.core import AsyncCore
from thane.client.convert import given
from thane.client.ops import users as ops
from thane.client.types.accounts import CurrentUser


class AsyncUsers:
    """What can be asked of users."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    async def current(self) -> CurrentUser:
        """Show who is signed in, for which tenant, and with which permissions."""
        return await self._core.call(ops.CURRENT, CurrentUser, {}, given())
