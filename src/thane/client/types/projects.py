"""What answers and requests are made of: projects.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

ProjectStatus: TypeAlias = Literal["active", "archived", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A piece of a tenant with people of its own.

    `settings.environment` is production, staging or development.
    """

    version: int = 0
    id: str
    tenant_id: str
    name: str
    slug: str
    description: str | None = None
    owner_id: str
    settings: dict[str, Any] | None = None
    status: ProjectStatus = "active"
    created_at: datetime
    updated_at: datetime
