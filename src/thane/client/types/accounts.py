"""What answers and requests are made of: accounts.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

UserRole: TypeAlias = Literal["user", "admin", "super_admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentUser:
    """Who is signed in."""

    id: str
    email: str
    role: UserRole
    tenant_id: str
    tenant_name: str
    plan: str
    project_id: str | None
    permissions: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A key as it is shown once: `key` is the whole token and is never shown again."""

    id: str
    name: str
    prefix: str
    key: str
    scopes: list[str]
    expires_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupToken:
    """`SetupToken` of the API."""

    token: str
    path: str
