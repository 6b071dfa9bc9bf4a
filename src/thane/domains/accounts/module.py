"""What accounts hands to the rest."""

from __future__ import annotations

from thane.domains.accounts import operations
from thane.domains.accounts.entities import ApiKey, ApiKeyUse, SetupLink, Tenant, User
from thane.domains.accounts.service import AccountsService
from thane.kernel.module import Module

ENTITIES = (Tenant, User, ApiKey, ApiKeyUse, SetupLink)


def module(accounts: AccountsService) -> Module:
    return Module(name="accounts", entities=ENTITIES, operations=((accounts, operations.ALL),))
