"""Rules of projects. For now: every tenant has a default project, and its owner is in it."""

from __future__ import annotations

from thane.domains.accounts import Tenant, User, default_project_id
from thane.domains.projects.entities import Member, MemberRole, Project
from thane.kernel.records import Unit


class ProjectsService:
    """Implements the founder's port of accounts."""

    async def found(self, unit: Unit, tenant: Tenant, owner: User) -> None:
        """Give a new tenant its default project."""
        project = unit.create(
            Project(
                id=default_project_id(tenant.id),
                tenant_id=tenant.id,
                name="Default",
                slug="default",
                owner_id=owner.id,
                settings={"environment": "development"},
                created_at=unit.now,
                updated_at=unit.now,
            )
        )
        unit.create(
            Member(
                id=unit.new_id(Member),
                tenant_id=tenant.id,
                user_id=owner.id,
                project_id=project.id,
                role=MemberRole.OWNER,
                joined_at=unit.now,
            )
        )
