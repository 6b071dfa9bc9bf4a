"""Errors of projects.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.errors.common import IllegalState, NotFound


class ProjectInactive(IllegalState):
    """The project is archived or deleted; nothing can be done in it."""

    code = "project_inactive"


class ProjectUnknown(NotFound):
    """The header Thane-Project names no project of this tenant."""

    code = "project_unknown"
