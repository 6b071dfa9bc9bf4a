"""Users.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._sync.core import Core
from thane.client.convert import given
from thane.client.ops import users as ops
from thane.client.types.accounts import CurrentUser


class Users:
    """What can be asked of users."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def current(self) -> CurrentUser:
        """Show who is signed in, for which tenant, and with which permissions."""
        return self._core.call(ops.CURRENT, CurrentUser, {}, given())
