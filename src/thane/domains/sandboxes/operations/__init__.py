"""What can be asked of sandboxes and executions."""

from thane.domains.sandboxes.operations.executions import EXECUTIONS, MarkStarted
from thane.domains.sandboxes.operations.sandboxes import SANDBOXES

__all__ = ["EXECUTIONS", "SANDBOXES", "MarkStarted"]
