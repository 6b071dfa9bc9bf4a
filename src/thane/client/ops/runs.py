"""Runs, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

CREATE = Op("runs.create", "POST", "/runs")
CREATE_MANY = Op("runs.create_many", "POST", "/runs/batch")
FINISH = Op("runs.finish", "POST", "/runs/{run_id}/finish")
GET = Op("runs.get", "GET", "/runs/{run_id}", reads=True)
LIST = Op("runs.list", "GET", "/runs", reads=True)
UPDATE = Op("runs.update", "PATCH", "/runs/{run_id}")
