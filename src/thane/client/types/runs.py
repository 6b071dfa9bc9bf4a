"""What answers and requests are made of: runs.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

RunStatus: TypeAlias = Literal["open", "finished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRun:
    """`CreateRun` of the API."""

    purpose: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRuns:
    """The runs that were opened, in the order of the request."""

    items: list[Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run. `outcome` is what its owner said when it was finished."""

    version: int = 0
    id: str
    tenant_id: str
    project_id: str
    user_id: str
    purpose: str = ""
    status: RunStatus = "open"
    outcome: str | None = None
    created_at: datetime
    finished_at: datetime | None = None
    updated_at: datetime
