"""Rules of accounts: who a bearer token is, and how tenants, keys and set-up links come to be.

Everything that changes rows takes the unit it is given. `identify` is on the path of
every request: what it learns is kept for half a minute, and a key revoked in this
process is forgotten at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from thane.domains.accounts.entities import (
    ApiKey,
    ApiKeyUse,
    SetupLink,
    Tenant,
    TenantStatus,
    User,
    UserRole,
    UserStatus,
)
from thane.domains.accounts.errors import KeyUnknown, SetupLinkUsed
from thane.domains.accounts.repository import AccountsRepository
from thane.kernel.clock import Clock, from_us
from thane.kernel.context import SYSTEM_TENANT, Principal, PrincipalKind, system_context
from thane.kernel.errors import Denied, Fault, Invalid, NotFound, Unauthorized
from thane.kernel.ports.identity import Identified
from thane.kernel.records import Records, Unit
from thane.kernel.sealing.hashing import new_token, parse_token, token_hash

CACHE_SECONDS = 30
CACHE_MOST = 10_000
LINK_LIFE = timedelta(hours=24)
ROLE_PERMISSIONS = {
    UserRole.USER: frozenset(
        {
            "runs.*",
            "sandboxes.*",
            "executions.*",
            "resource_metrics.*",
            "usage_aggregates.list",
            "billing_events.list",
        }
        | {
            "projects.list",
            "projects.get",
            "users.current",
            "api_keys.list",
            "api_keys.create",
            "api_keys.revoke",
        }
    ),
    UserRole.ADMIN: frozenset({"*"}),
    UserRole.SUPER_ADMIN: frozenset({"*"}),
}


class Founder(Protocol):
    """What a higher domain adds to a new tenant, in the same unit (its default project)."""

    async def found(self, unit: Unit, tenant: Tenant, owner: User) -> None: ...


class CacheMeter(Protocol):
    """Counts hits and misses of a named cache."""

    def cache(self, name: str, *, hit: bool) -> None: ...


class IssuedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is shown once: `key` is the whole token and is never shown again."""

    id: str
    name: str
    prefix: str
    key: str
    scopes: list[str]
    expires_at: datetime | None
    created_at: datetime


def default_project_id(tenant_id: str) -> str:
    """Every tenant's default project has an id that follows from the tenant's."""
    return f"prj_{tenant_id.partition('_')[2]}"


class AccountsService:
    """Implements the kernel's identity port."""

    def __init__(
        self,
        records: Records,
        clock: Clock,
        founders: Sequence[Founder],
        meter: CacheMeter,
        *,
        cache_most: int = CACHE_MOST,
        cache_seconds: int = CACHE_SECONDS,
    ) -> None:
        """At most `cache_most` identities are kept, each for `cache_seconds` (half a minute at most)."""
        self.repository = AccountsRepository(records)
        self._records = records
        self._clock = clock
        self._founders = founders
        self._meter = meter
        self._cache_most = cache_most
        self._cache_us = (min(cache_seconds, CACHE_SECONDS) if cache_most else 0) * 1_000_000
        self._known: dict[bytes, tuple[float, ApiKey, Identified]] = {}
        self._used: dict[str, int] = {}

    # -- the identity port ----------------------------------------------------------------

    async def identify(self, bearer: str) -> Identified:
        """The owner of a key; Unauthorized for an unknown, expired or revoked one."""
        digest = token_hash(bearer)
        now_us = self._clock.now_us()
        known = self._known.get(digest)
        if known is not None and known[0] > now_us:
            self._meter.cache("identify", hit=True)
            key, found = known[1], known[2]
        else:
            self._meter.cache("identify", hit=False)
            parse_token(bearer)  # what is known has been parsed before
            key, found = await self._look_up(digest)
            if len(self._known) >= self._cache_most:
                self._known.clear()
            self._known[digest] = (now_us + self._cache_us, key, found)
        if key.expires_at is not None and key.expires_at <= from_us(now_us):
            raise Unauthorized("the key has expired", hint="`thane keys create NAME` makes a new one.")
        self._used[key.id] = now_us
        return found

    async def _look_up(self, digest: bytes) -> tuple[ApiKey, Identified]:
        key = await self.repository.key_by_hash(digest)
        if key is None:
            raise Unauthorized("the key is unknown here")
        if key.revoked_at is not None:
            raise Unauthorized("the key was revoked", hint="`thane keys create NAME` makes a new one.")
        context = system_context(key.tenant_id, "req_identify", self._clock.now_us())
        unit = self._records.unit(context)
        user, tenant = await unit.get(User, key.user_id), await unit.get(Tenant, key.tenant_id)
        return key, _identified(tenant, user, key)

    async def local_owner(self) -> Identified:
        """The owner of the folder's first tenant, for its own socket and command line."""
        tenant_id = await local_tenant(self._records)
        unit = self._records.unit(system_context(tenant_id, "req_identify", self._clock.now_us()))
        owner = await self.repository.owner(unit)
        if owner is None:
            raise Unauthorized(f"the tenant {tenant_id} has no owner")
        return _identified(await unit.get(Tenant, tenant_id), owner, None)

    def forget(self, key_id: str) -> None:
        """A key was revoked: its next use looks it up again."""
        for digest in [d for d, (_, key, _) in self._known.items() if key.id == key_id]:
            del self._known[digest]

    async def write_uses(self) -> None:
        """Note down when keys were last used; run by a job, so that a read stays a read."""
        used, self._used = self._used, {}
        by_id = {key.id: key for _, key, _ in self._known.values()}
        for key_id, at in used.items():
            key = by_id.get(key_id)
            if key is not None:
                await self._write_use(key, at)

    async def _write_use(self, key: ApiKey, at_us: int) -> None:
        use_id = f"kus_{key.id.partition('_')[2]}"

        async def write(unit: Unit) -> None:
            found = await unit.find(ApiKeyUse, use_id)
            if found is None:
                unit.create(ApiKeyUse(id=use_id, tenant_id=key.tenant_id, last_used_at=from_us(at_us)))
            elif found.last_used_at < from_us(at_us):
                await unit.update(found, last_used_at=from_us(at_us))

        await self._records.housekeep(
            system_context(key.tenant_id, "req_key_uses", self._clock.now_us()), write
        )

    # -- tenants --------------------------------------------------------------------------

    async def create_tenant(self, unit: Unit, name: str, email: str | None) -> Tenant:
        """A tenant with its owner, their data keys, and what founders add. The unit's tenant is the new one.

        Without an e-mail it has nobody in it: only the reserved tenant `system` is made so.
        """
        tenant_id = unit.context.tenant_id
        unit.create_subject(tenant_id)
        tenant = unit.create(Tenant(id=tenant_id, name=name, created_at=unit.now, updated_at=unit.now))
        if email is None:
            if tenant_id != SYSTEM_TENANT:
                raise Invalid(
                    "a tenant needs an owner", faults=(Fault("/email", "required", "must be given"),)
                )
            return tenant
        owner_id = unit.new_id(User)
        unit.create_subject(owner_id)
        owner = unit.create(
            User(
                id=owner_id,
                tenant_id=tenant_id,
                email=email,
                role=UserRole.ADMIN,
                created_at=unit.now,
                updated_at=unit.now,
            )
        )
        for founder in self._founders:
            await founder.found(unit, tenant, owner)
        return tenant

    # -- keys -----------------------------------------------------------------------------

    async def issue_key(
        self, unit: Unit, user_id: str, name: str, scopes: Sequence[str], expires_at: datetime | None
    ) -> IssuedKey:
        """A new key of a user. Scopes can only narrow what its maker may do; none: the maker's own."""
        held = unit.context.principal.permissions
        if not scopes and _is_narrowed(unit.context.principal):
            # No scopes would mean all that the user may do, which is more than this key.
            scopes = sorted(held)
        for scope in scopes:
            if not (scope in held or "*" in held or scope.partition(".")[0] + ".*" in held):
                detail = "you do not have this permission yourself"
                raise Invalid(
                    f"the scope {scope!r} cannot be given", faults=(Fault("/scopes", "not_held", detail),)
                )
        if expires_at is not None and expires_at <= unit.now:
            raise Invalid(
                "the key would have expired already", faults=(Fault("/expires_at", "past", "is in the past"),)
            )
        token = new_token("key")
        key = unit.create(
            ApiKey(
                id=unit.new_id(ApiKey),
                tenant_id=unit.context.tenant_id,
                user_id=user_id,
                name=name,
                prefix=token[:14],
                key_hash=token_hash(token),
                scopes=list(scopes),
                expires_at=expires_at,
                created_at=unit.now,
            )
        )
        return IssuedKey(
            id=key.id,
            name=name,
            prefix=key.prefix,
            key=token,
            scopes=key.scopes,
            expires_at=expires_at,
            created_at=key.created_at,
        )

    async def revoke_key(self, unit: Unit, key_id: str) -> ApiKey:
        """From now on the key opens nothing. Revoking twice changes nothing."""
        key = await unit.find(ApiKey, key_id)
        if key is None:
            raise KeyUnknown(f"there is no key {key_id}")
        self.forget(key_id)
        return key if key.revoked_at is not None else await unit.update(key, revoked_at=unit.now)

    # -- set-up links -----------------------------------------------------------------------

    async def create_setup_link(self, unit: Unit, user_id: str) -> str:
        """A token that an owner's key can be had for, once, within a day. Denied to a key with scopes."""
        if _is_narrowed(unit.context.principal):
            raise Denied(
                "a key with scopes cannot make a link to an owner's key",
                hint="Use a key without scopes, or `thane keys create` on the server's machine.",
            )
        token = new_token("setup")
        unit.create(
            SetupLink(
                id=unit.new_id(SetupLink),
                tenant_id=unit.context.tenant_id,
                user_id=user_id,
                token_hash=token_hash(token),
                expires_at=unit.now + LINK_LIFE,
                created_at=unit.now,
            )
        )
        return token

    async def setup_identity(self, token: str) -> Identified:
        """Whose set-up link this is; Unauthorized if nobody's."""
        link = await self.repository.setup_link_by_hash(token_hash(parse_token(token).text))
        if link is None:
            raise Unauthorized("this set-up link is unknown")
        unit = self._records.unit(system_context(link.tenant_id, "req_identify", self._clock.now_us()))
        return _identified(await unit.get(Tenant, link.tenant_id), await unit.get(User, link.user_id), None)

    async def use_setup_link(self, unit: Unit, token: str) -> IssuedKey:
        """Turn a link into a key; SetupLinkUsed the second time and after its time."""
        link = await unit.first(SetupLink, SetupLink.token_hash == token_hash(parse_token(token).text))
        if link is None:
            raise Unauthorized("this set-up link is unknown")
        if link.used_at is not None or link.expires_at <= unit.now:
            raise SetupLinkUsed("this set-up link was used already, or has expired")
        await unit.update(link, used_at=unit.now)
        return await self.issue_key(unit, link.user_id, "owner", (), None)


async def local_tenant(records: Records) -> str:
    """The id of a data folder's first tenant, which its owner's command line acts in."""
    tenants = await records.across(Tenant, Tenant.id > SYSTEM_TENANT, 1)  # ids are in order of time
    if not tenants:
        raise NotFound("this data folder has no tenant yet", hint="Try: thane run -c 'print(1)'")
    return tenants[0].id


def _is_narrowed(principal: Principal) -> bool:
    """Whether this is a key that may do less than its user."""
    if principal.kind is not PrincipalKind.KEY:
        return False
    return principal.permissions != ROLE_PERMISSIONS[UserRole(principal.role)]


def _identified(tenant: Tenant, user: User, key: ApiKey | None) -> Identified:
    if tenant.status is not TenantStatus.ACTIVE:
        raise Unauthorized(f"the tenant is {tenant.status.value}")
    if user.status is not UserStatus.ACTIVE:
        raise Unauthorized(f"the user is {user.status.value}")
    permissions = ROLE_PERMISSIONS[user.role]
    if key is not None and key.scopes:
        permissions = frozenset(key.scopes)
    principal = Principal(
        kind=PrincipalKind.USER if key is None else PrincipalKind.KEY,
        id=user.id if key is None else key.id,
        tenant_id=tenant.id,
        user_id=user.id,
        role=user.role.value,
        permissions=permissions,
        actor_chain=(user.id,) if key is None else (user.id, key.id),
        plan=tenant.plan.value,
    )
    return Identified(principal=principal, project_id=default_project_id(tenant.id))
