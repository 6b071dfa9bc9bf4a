"""Sandboxes: where code runs, what it did, what it used and what it cost."""

from thane.domains.sandboxes.entities import Execution, ResourceLimits, Sandbox
from thane.domains.sandboxes.operations import OPERATIONS, MarkStarted
from thane.domains.sandboxes.service import (
    Alert,
    Artifacts,
    Bounds,
    ContextsService,
    ExecutionsService,
    FilesService,
    Intent,
    MemoryHigh,
    MetricsService,
    Pace,
    Runner,
    SandboxesService,
    Slots,
    host_bounds,
)

__all__ = [
    "OPERATIONS",
    "Alert",
    "Artifacts",
    "Bounds",
    "ContextsService",
    "Execution",
    "ExecutionsService",
    "FilesService",
    "Intent",
    "MarkStarted",
    "MemoryHigh",
    "MetricsService",
    "Pace",
    "ResourceLimits",
    "Runner",
    "Sandbox",
    "SandboxesService",
    "Slots",
    "host_bounds",
]
