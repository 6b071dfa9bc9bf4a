"""Resource metrics, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

LIST = Op("resource_metrics.list", "GET", "/executions/{execution_id}/metrics", reads=True)
RECORD = Op("resource_metrics.record", "POST", "/executions/{execution_id}/metrics")
