"""Rules of projects. For now: every tenant has a default project, and its owner is in it."""

from __future__ import annotations

from thane.domains.accounts import Tenant, User, default_project_id
from thane.domains.projects.entities import Member, MemberRole, Project, ProjectStatus
from thane.domains.projects.errors import ProjectInactive, ProjectUnknown
from thane.kernel.records import Unit


class ProjectsService:
    """Implements the founder's port of accounts, and the rule for the project that is named."""

    async def judge(self, unit: Unit, operation: str, request: object) -> None:
        """Whoever names a project must mean one of their tenant that is active."""
        context = unit.context
        if context.project_id is None or context.project_id == default_project_id(context.tenant_id):
            return
        project = await unit.find(Project, context.project_id)
        if project is None:
            raise ProjectUnknown(f"there is no project {context.project_id}")
        if project.status is not ProjectStatus.ACTIVE:
            raise ProjectInactive(f"the project {project.slug} is {project.status.value}")

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
