"""Projects: where a tenant's resources live, and who may touch them."""

from thane.domains.projects.entities import Member, MemberRole, Project
from thane.domains.projects.service import ProjectsService

__all__ = ["Member", "MemberRole", "Project", "ProjectsService"]
