"""What can be asked of sandboxes and executions."""

from thane.domains.sandboxes.operations.contexts import CONTEXTS
from thane.domains.sandboxes.operations.executions import EXECUTIONS, MarkStarted
from thane.domains.sandboxes.operations.files import FILES
from thane.domains.sandboxes.operations.metrics import METRICS
from thane.domains.sandboxes.operations.sandboxes import SANDBOXES

OPERATIONS = (*SANDBOXES, *EXECUTIONS, *CONTEXTS, *FILES, *METRICS)

__all__ = ["CONTEXTS", "EXECUTIONS", "FILES", "METRICS", "OPERATIONS", "SANDBOXES", "MarkStarted"]
