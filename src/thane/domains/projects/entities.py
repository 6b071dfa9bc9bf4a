"""Projects and who works in them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from thane.kernel.records import Field, Index, Record, entity, field, key, ref


class ProjectStatus(StrEnum):
    ACTIVE = "active"
    ARCHIVED = "archived"
    DELETED = "deleted"


class MemberRole(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"


@entity(
    "projects",
    "prj",
    Index("tenant_id", "slug", unique=True, name="idx_projects_slug"),
    Index("tenant_id", "created_at DESC"),
    Index("owner_id", name="idx_projects_owner"),
    Index("status", name="idx_projects_status"),
)
class Project(Record):
    """A piece of a tenant with people of its own.

    `settings.environment` is production, staging or development.
    """

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    name: Field[str] = field()
    slug: Field[str] = field()
    description: Field[str | None] = field(default=None)
    owner_id: Field[str] = ref("users")
    settings: Field[dict[str, Any] | None] = field(default=None)
    status: Field[ProjectStatus] = field(default=ProjectStatus.ACTIVE)
    created_at: Field[datetime] = field()
    updated_at: Field[datetime] = field()


@entity(
    "members",
    "mem",
    Index("user_id", "project_id", unique=True, name="idx_members_unique"),
    Index("project_id", name="idx_members_project"),
)
class Member(Record):
    """A user in a project. `permissions` are extra ones beside the role's."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    user_id: Field[str] = ref("users")
    project_id: Field[str] = ref("projects")
    role: Field[MemberRole] = field(default=MemberRole.VIEWER)
    permissions: Field[list[str] | None] = field(default=None)
    joined_at: Field[datetime] = field()
