"""Setup links.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._async.core import AsyncCore
from thane.client.convert import given
from thane.client.ops import setup_links as ops
from thane.client.types.accounts import IssuedKey, SetupToken


class AsyncSetupLinks:
    """What can be asked of setup links."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    async def create(self) -> SetupToken:
        """Make a link that turns into an owner's key once, within a day."""
        return await self._core.call(ops.CREATE, SetupToken, {}, given())

    async def use(self, token: str) -> IssuedKey:
        """Turn a set-up link into an owner's API key. It works once.

        `token`: What the link ends with
        """
        return await self._core.call(ops.USE, IssuedKey, {"token": token}, given())
