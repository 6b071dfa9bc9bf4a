"""What can be asked of projects."""

from __future__ import annotations

import msgspec

from thane.domains.projects.entities import Project
from thane.domains.projects.service import ProjectsService
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.listing import ListRequest, list_page
from thane.kernel.paging import Page
from thane.kernel.records import Unit


class GetProject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    project_id: str


@operation(
    "projects.get",
    http="GET /projects/{project_id}",
    needs="projects.get",
    effect=Effect.NONE,
    entity=Project,
    example=Example({"project_id": "$projects.list/items/0/id"}),
)
async def get_project(projects: ProjectsService, unit: Unit, request: GetProject) -> Project:
    """Show one project."""
    return await unit.get(Project, request.project_id)


@operation(
    "projects.list",
    http="GET /projects",
    needs="projects.list",
    effect=Effect.NONE,
    entity=Project,
    lists=True,
    example=Example(),
)
async def list_projects(projects: ProjectsService, unit: Unit, request: ListRequest) -> Page[Project]:
    """List the tenant's projects."""
    return await list_page(unit, Project, request)


ALL = (get_project, list_projects)
