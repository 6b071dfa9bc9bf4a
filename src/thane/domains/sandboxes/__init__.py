"""Sandboxes: where code runs, what it did, what it used and what it cost."""

from thane.domains.sandboxes.entities import Execution, ResourceLimits, Sandbox
from thane.domains.sandboxes.operations import MarkStarted
from thane.domains.sandboxes.service import (
    Artifacts,
    Bounds,
    ExecutionsService,
    SandboxesService,
    Slots,
    host_bounds,
)

__all__ = [
    "Artifacts",
    "Bounds",
    "Execution",
    "ExecutionsService",
    "MarkStarted",
    "ResourceLimits",
    "Sandbox",
    "SandboxesService",
    "Slots",
    "host_bounds",
]
