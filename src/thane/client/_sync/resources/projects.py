"""Projects.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._sync.core import Core
from thane.client._sync.pages import Pages
from thane.client.convert import given
from thane.client.ops import projects as ops
from thane.client.types.projects import Project


class Projects:
    """What can be asked of projects."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def get(self, project_id: str) -> Project:
        """Show one project."""
        return self._core.call(ops.GET, Project, {"project_id": project_id}, given())

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> Pages[Project]:
        """List the tenant's projects.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return Pages(self._core, ops.LIST, Project, {}, given(limit=page_size, filter=filter, sort=sort))
