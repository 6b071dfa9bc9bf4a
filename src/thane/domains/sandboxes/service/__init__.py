"""Rules of sandboxes and executions."""

from thane.domains.sandboxes.service.artifacts import Artifacts
from thane.domains.sandboxes.service.executions import ExecutionsService, Given, Intent
from thane.domains.sandboxes.service.limits import Bounds, WantedLimits, host_bounds
from thane.domains.sandboxes.service.outcome import Done
from thane.domains.sandboxes.service.sandboxes import SandboxesService
from thane.domains.sandboxes.service.slots import Slots

__all__ = [
    "Artifacts",
    "Bounds",
    "Done",
    "ExecutionsService",
    "Given",
    "Intent",
    "SandboxesService",
    "Slots",
    "WantedLimits",
    "host_bounds",
]
