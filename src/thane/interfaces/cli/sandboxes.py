"""`thane sandboxes`, `contexts`, `executions`, `resource-metrics`, `resource-alerts`: from the registry."""

from __future__ import annotations

from thane.domains.sandboxes import OPERATIONS
from thane.interfaces.cli.made import group

sandboxes = group("sandboxes", OPERATIONS, "Sandboxes: made, run in, their files, what they used.")
contexts = group("contexts", OPERATIONS, "Variables that survive from one execution to the next.")
executions = group("executions", OPERATIONS, "What was run, what it printed and the files it produced.")
resource_metrics = group("resource-metrics", OPERATIONS, "Samples of use, and figures of yours beside them.")
resource_alerts = group("resource-alerts", OPERATIONS, "When executions neared their memory limit.")
