"""What can be asked of accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from thane.domains.accounts.entities import ApiKey, Tenant, User, UserRole
from thane.domains.accounts.service import AccountsService, IssuedKey
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.listing import ListRequest, list_page
from thane.kernel.paging import Page
from thane.kernel.ports.identity import Identified
from thane.kernel.records import Unit

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, description="A name to know it by")]


class CreateTenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    email: (
        Annotated[str, msgspec.Meta(min_length=3, max_length=254, pattern="^[^@\\s]+@[^@\\s]+$")] | None
    ) = None


class TenantView(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant as it is shown to its people."""

    id: str
    name: str
    plan: str
    status: str
    created_at: datetime


@operation(
    "tenants.create",
    http=None,
    needs="tenants.create",
    effect=Effect.RECORDS,
    entity=Tenant,
    example=Example({"name": "Acme", "email": "owner@example.com"}),
)
async def create_tenant(accounts: AccountsService, unit: Unit, request: CreateTenant) -> TenantView:
    """Make a tenant with its default project, its owner and their data keys.

    It is the first entry of the new tenant's own ledger.
    """
    tenant = await accounts.create_tenant(unit, request.name, request.email)
    return TenantView(
        id=tenant.id,
        name=tenant.name,
        plan=tenant.plan.value,
        status=tenant.status.value,
        created_at=tenant.created_at,
    )


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request without fields."""


class CurrentUser(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in."""

    id: str
    email: str
    role: UserRole
    tenant_id: str
    tenant_name: str
    plan: str
    project_id: str | None
    permissions: list[str]


@operation(
    "users.current", http="GET /me", needs="users.current", effect=Effect.NONE, entity=User, example=Example()
)
async def current_user(accounts: AccountsService, unit: Unit, request: Nothing) -> CurrentUser:
    """Show who is signed in, for which tenant, and with which permissions."""
    context = unit.context
    user = await unit.get(User, context.user_id or "")
    tenant = await unit.get(Tenant, context.tenant_id)
    return CurrentUser(
        id=user.id,
        email=user.email,
        role=user.role,
        tenant_id=tenant.id,
        tenant_name=tenant.name,
        plan=tenant.plan.value,
        project_id=context.project_id,
        permissions=sorted(context.principal.permissions),
    )


class CreateKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    scopes: Annotated[
        list[str], msgspec.Meta(max_length=64, description="Permissions; none: all of yours")
    ] = []
    expires_at: (
        Annotated[
            datetime,
            msgspec.Meta(
                tz=True,
                description="When it stops opening anything, with its zone: 2027-01-01T00:00:00Z",
            ),
        ]
        | None
    ) = None


@operation(
    "api_keys.create",
    http="POST /keys",
    needs="api_keys.create",
    effect=Effect.RECORDS,
    entity=ApiKey,
    example=Example({"name": "laptop"}),
    secret_fields=("key",),
    cli="keys create",
)
async def create_key(accounts: AccountsService, unit: Unit, request: CreateKey) -> IssuedKey:
    """Make an API key for yourself.

    The key is shown in this answer and never again; the store keeps its hash.
    """
    user_id = unit.context.user_id or ""
    return await accounts.issue_key(unit, user_id, request.name, request.scopes, request.expires_at)


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key without what it opens."""

    id: str
    user_id: str
    name: str
    prefix: str
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    version: int


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        user_id=key.user_id,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        created_at=key.created_at,
        version=key.version,
    )


@operation(
    "api_keys.list",
    http="GET /keys",
    needs="api_keys.list",
    effect=Effect.NONE,
    entity=ApiKey,
    lists=True,
    example=Example(),
    cli="keys list",
)
async def list_keys(accounts: AccountsService, unit: Unit, request: ListRequest) -> Page[KeyView]:
    """List the tenant's API keys, revoked ones too, without what they open."""
    page = await list_page(unit, ApiKey, request)
    return Page(items=tuple(map(_view, page.items)), next_cursor=page.next_cursor, total=page.total)


class RevokeKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key_id: str


@operation(
    "api_keys.revoke",
    http="POST /keys/{key_id}/revoke",
    needs="api_keys.revoke",
    effect=Effect.RECORDS,
    entity=ApiKey,
    status=200,
    example=Example({"key_id": "$api_keys.create/id"}),
    cli="keys revoke",
)
async def revoke_key(accounts: AccountsService, unit: Unit, request: RevokeKey) -> KeyView:
    """Revoke an API key: from now on it opens nothing."""
    return _view(await accounts.revoke_key(unit, request.key_id))


class CreateSetupLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request without fields."""


class SetupToken(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    path: str


@operation(
    "setup_links.create",
    http="POST /setup-links",
    needs="setup_links.create",
    effect=Effect.RECORDS,
    example=Example(),
    secret_fields=("token", "path"),
)
async def create_setup_link(accounts: AccountsService, unit: Unit, request: CreateSetupLink) -> SetupToken:
    """Make a link that turns into an owner's key once, within a day."""
    token = await accounts.create_setup_link(unit, unit.context.user_id or "")
    return SetupToken(token=token, path=f"/api/v1/setup/{token}")


class UseSetupLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: Annotated[str, msgspec.Meta(description="What the link ends with")]


async def _whose(accounts: AccountsService, request: UseSetupLink) -> Identified:
    return await accounts.setup_identity(request.token)


@operation(
    "setup_links.use",
    http="POST /setup/{token}",
    needs="",
    effect=Effect.RECORDS,
    anonymous=True,
    identified_by=_whose,
    example=Example({"token": "$setup_links.create/token"}),
    secret_fields=("key",),
    transient=("token",),
)
async def use_setup_link(accounts: AccountsService, unit: Unit, request: UseSetupLink) -> IssuedKey:
    """Turn a set-up link into an owner's API key. It works once."""
    return await accounts.use_setup_link(unit, request.token)


ALL = (create_tenant, current_user, create_key, list_keys, revoke_key, create_setup_link, use_setup_link)
