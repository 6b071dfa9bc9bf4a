"""Resource alerts, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

LIST = Op("resource_alerts.list", "GET", "/sandboxes/{sandbox_id}/alerts", reads=True)
