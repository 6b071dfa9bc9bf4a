"""What belongs to no tenant: the processes of this installation, and the kernel's own rows."""

from thane.domains.system.entities import Server
from thane.domains.system.operations import ApplyRetention
from thane.domains.system.service import DEAD_AFTER, SystemService

__all__ = ["DEAD_AFTER", "ApplyRetention", "Server", "SystemService"]
