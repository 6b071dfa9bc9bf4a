"""What can go wrong with projects."""

from __future__ import annotations

from thane.kernel.errors import IllegalState, NotFound


class ProjectUnknown(NotFound):
    """The header Thane-Project names no project of this tenant."""

    code = "project_unknown"
    title = "No such project"
    default_hint = "List projects (GET /api/v1/projects), or leave the header Thane-Project out."


class ProjectInactive(IllegalState):
    """The project is archived or deleted; nothing can be done in it."""

    code = "project_inactive"
    title = "The project is not active"
    default_hint = "Use another project, or have this one made active again."
