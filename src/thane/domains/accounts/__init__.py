"""Tenants, users, API keys, and who a bearer token is."""

from thane.domains.accounts.entities import ApiKey, Plan, Tenant, User, UserRole
from thane.domains.accounts.service import AccountsService, Founder, IssuedKey, default_project_id

__all__ = [
    "AccountsService",
    "ApiKey",
    "Founder",
    "IssuedKey",
    "Plan",
    "Tenant",
    "User",
    "UserRole",
    "default_project_id",
]
