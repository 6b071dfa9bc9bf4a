"""What this machine is like: disk, clock, limits, ports, versions, the data folder's modes.

Each function looks at one thing and says what it found; none changes anything. Where the
kernel gives no answer (another system, a container that hides it) that is a note, not a fault.
"""

from thane.adapters.machine.clock import clock
from thane.adapters.machine.disk import disk
from thane.adapters.machine.folder import folder
from thane.adapters.machine.limits import limits
from thane.adapters.machine.ports import port
from thane.adapters.machine.versions import versions

__all__ = ["clock", "disk", "folder", "limits", "port", "versions"]
