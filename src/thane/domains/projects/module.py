"""What projects hands to the rest."""

from __future__ import annotations

from thane.domains.projects import operations
from thane.domains.projects.entities import Member, Project
from thane.domains.projects.service import ProjectsService
from thane.kernel.module import Module

ENTITIES = (Project, Member)


def module(projects: ProjectsService) -> Module:
    return Module(name="projects", entities=ENTITIES, operations=((projects, operations.ALL),))
