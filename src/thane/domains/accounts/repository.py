"""Named queries of accounts. Nothing else in this domain builds a predicate."""

from __future__ import annotations

from thane.domains.accounts.entities import ApiKey, SetupLink, Tenant, User
from thane.kernel.records import Records, Unit


class AccountsRepository:
    """Look-ups before the tenant is known go through `identify`, all others through the unit."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def key_by_hash(self, key_hash: bytes) -> ApiKey | None:
        return await self._records.identify(ApiKey, ApiKey.key_hash == key_hash)

    async def setup_link_by_hash(self, token_hash: bytes) -> SetupLink | None:
        return await self._records.identify(SetupLink, SetupLink.token_hash == token_hash)

    async def tenants(self) -> list[Tenant]:
        """Every tenant, for bootstrap and maintenance."""
        return await self._records.across(Tenant)

    async def owner(self, unit: Unit) -> User | None:
        """The tenant's first user, who is its owner."""
        users = await unit.list(User, order=(User.created_at.asc(),), limit=1)
        return users[0] if users else None
