"""Api keys.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from thane.client._sync.core import Core
from thane.client._sync.pages import Pages
from thane.client.convert import given
from thane.client.ops import api_keys as ops
from thane.client.types.accounts import IssuedKey, KeyView


class ApiKeys:
    """What can be asked of api keys."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(
        self, name: str, *, scopes: Sequence[str] | None = None, expires_at: datetime | None = None
    ) -> IssuedKey:
        """Make an API key for yourself.

        The key is shown in this answer and never again; the store keeps its hash.

        `name`: A name to know it by
        `scopes`: Permissions; none: all of yours
        `expires_at`: When it stops opening anything, with its zone: 2027-01-01T00:00:00Z
        """
        return self._core.call(
            ops.CREATE, IssuedKey, {}, given(name=name, scopes=scopes, expires_at=expires_at)
        )

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> Pages[KeyView]:
        """List the tenant's API keys, revoked ones too, without what they open.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return Pages(self._core, ops.LIST, KeyView, {}, given(limit=page_size, filter=filter, sort=sort))

    def revoke(self, key_id: str, *, if_match: int | None = None) -> KeyView:
        """Revoke an API key: from now on it opens nothing."""
        return self._core.call(ops.REVOKE, KeyView, {"key_id": key_id}, given(), if_match=if_match)
