"""Rules of sandboxes and executions."""

from thane.domains.sandboxes.service.alerts import Alert
from thane.domains.sandboxes.service.artifacts import Artifacts
from thane.domains.sandboxes.service.contexts import (
    ContextEnded,
    ContextsService,
    ContextStatus,
    ContextView,
    EndContext,
)
from thane.domains.sandboxes.service.executions import ExecutionsService
from thane.domains.sandboxes.service.files import (
    ChangeFile,
    FileChanged,
    FileContent,
    FilesService,
    SandboxFile,
    SandboxFiles,
)
from thane.domains.sandboxes.service.intent import Given, Intent
from thane.domains.sandboxes.service.limits import Bounds, WantedLimits, host_bounds
from thane.domains.sandboxes.service.metrics import MemoryHigh, MetricsService
from thane.domains.sandboxes.service.outcome import Done
from thane.domains.sandboxes.service.running import Pace, Runner
from thane.domains.sandboxes.service.sandboxes import SandboxesService
from thane.domains.sandboxes.service.slots import Share, Slots

__all__ = [
    "Alert",
    "Artifacts",
    "Bounds",
    "ChangeFile",
    "ContextEnded",
    "ContextStatus",
    "ContextView",
    "ContextsService",
    "Done",
    "EndContext",
    "ExecutionsService",
    "FileChanged",
    "FileContent",
    "FilesService",
    "Given",
    "Intent",
    "MemoryHigh",
    "MetricsService",
    "Pace",
    "Runner",
    "SandboxFile",
    "SandboxFiles",
    "SandboxesService",
    "Share",
    "Slots",
    "WantedLimits",
    "host_bounds",
]
