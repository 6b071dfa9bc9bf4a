"""Tenants, users and keys. Personal data is sealed under the user's own data key."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from thane.kernel.records import Field, Index, Record, entity, field, key, ref


class Plan(StrEnum):
    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"


class TenantStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


class UserRole(StrEnum):
    USER = "user"
    ADMIN = "admin"
    SUPER_ADMIN = "super_admin"


class UserStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@entity("tenants", "tnt", Index("plan", name="idx_tenants_plan"), scoped=False)
class Tenant(Record):
    """An organisation: its plan, its quotas, and a ledger of its own."""

    id: Field[str] = key()
    name: Field[str] = field()
    plan: Field[Plan] = field(default=Plan.FREE)
    status: Field[TenantStatus] = field(default=TenantStatus.ACTIVE)
    max_wallets: Field[int] = field(default=10)
    max_transactions_per_day: Field[int] = field(default=100)
    api_rate_limit: Field[int] = field(default=100)  # requests a minute
    created_at: Field[datetime] = field()
    updated_at: Field[datetime] = field()


@entity(
    "users",
    "usr",
    Index("email", unique=True, name="idx_users_email"),
    Index("phone", unique=True, name="idx_users_phone"),
    Index("username", unique=True, name="idx_users_username"),
    Index("identity_id", unique=True, name="idx_users_identity_id"),
    Index("tenant_id", "created_at", name="idx_users_tenant_id"),
    Index("status", name="idx_users_status"),
    Index("last_login_at DESC", name="idx_users_last_login"),
    subject="id",
)
class User(Record):
    """A person. E-mail and phone are sealed and found by their blind index."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    identity_id: Field[str | None] = field(default=None)
    email: Field[str] = field(sealed=True, blind_index=True)
    phone: Field[str | None] = field(default=None, sealed=True, blind_index=True)
    username: Field[str | None] = field(default=None)
    display_name: Field[str | None] = field(default=None)
    avatar_url: Field[str | None] = field(default=None)
    password_hash: Field[str | None] = field(default=None, secret=True)
    role: Field[UserRole] = field(default=UserRole.USER)
    mfa_enabled: Field[bool] = field(default=False)
    mfa_secret: Field[str | None] = field(default=None, sealed=True)
    metadata: Field[dict[str, Any] | None] = field(default=None)
    status: Field[UserStatus] = field(default=UserStatus.ACTIVE)
    last_login_at: Field[datetime | None] = field(default=None)
    created_at: Field[datetime] = field()
    updated_at: Field[datetime] = field()

    @property
    def is_active(self) -> bool:
        return self.status is UserStatus.ACTIVE


@entity(
    "api_keys",
    "key",
    Index("key_hash", unique=True, name="idx_api_keys_key_hash"),
    Index("tenant_id", "created_at DESC"),
    Index("user_id"),
    subject="user_id",
)
class ApiKey(Record):
    """A long-lived credential of a user. The key itself is shown once; the store has its hash."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    user_id: Field[str] = ref("users")
    name: Field[str] = field()
    prefix: Field[str] = field()
    key_hash: Field[bytes] = field(secret=True)
    scopes: Field[list[str]] = field(default_factory=list)  # empty: all that its user may do
    expires_at: Field[datetime | None] = field(default=None)
    revoked_at: Field[datetime | None] = field(default=None)
    created_at: Field[datetime] = field()


@entity("api_key_uses", "kus", history=False)
class ApiKeyUse(Record):
    """When a key was last used; apart from the key, or each read would make a ledger entry.

    `id` follows from the key's.
    """

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    last_used_at: Field[datetime] = field()


@entity("setup_links", "set", Index("token_hash", unique=True), subject="user_id")
class SetupLink(Record):
    """A link that turns into an owner's key, once."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    user_id: Field[str] = ref("users")
    token_hash: Field[bytes] = field(secret=True)
    expires_at: Field[datetime] = field()
    used_at: Field[datetime | None] = field(default=None)
    created_at: Field[datetime] = field()
