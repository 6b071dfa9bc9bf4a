"""Setup links.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._sync.core import Core
from thane.client.convert import given
from thane.client.ops import setup_links as ops
from thane.client.types.accounts import IssuedKey, SetupToken


class SetupLinks:
    """What can be asked of setup links."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(self) -> SetupToken:
        """Make a link that turns into an owner's key once, within a day."""
        return self._core.call(ops.CREATE, SetupToken, {}, given())

    def use(self, token: str) -> IssuedKey:
        """Turn a set-up link into an owner's API key. It works once.

        `token`: What the link ends with
        """
        return self._core.call(ops.USE, IssuedKey, {"token": token}, given())
