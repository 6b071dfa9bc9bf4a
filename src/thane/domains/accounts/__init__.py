"""Tenants, users, API keys, and who a bearer token is."""

from thane.domains.accounts.entities import ApiKey, Plan, Tenant, User, UserRole
from thane.domains.accounts.operations import CreateKey, CreateSetupLink, CreateTenant
from thane.domains.accounts.service import (
    AccountsService,
    Founder,
    IssuedKey,
    default_project_id,
    local_tenant,
)

__all__ = [
    "AccountsService",
    "ApiKey",
    "CreateKey",
    "CreateSetupLink",
    "CreateTenant",
    "Founder",
    "IssuedKey",
    "Plan",
    "Tenant",
    "User",
    "UserRole",
    "default_project_id",
    "local_tenant",
]
