"""Sandboxes, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

CREATE = Op("sandboxes.create", "POST", "/sandboxes")
DASHBOARD = Op("sandboxes.dashboard", "GET", "/dashboard", reads=True)
EXECUTE = Op("sandboxes.execute", "POST", "/sandboxes/{sandbox_id}/executions", outside=True)
GET = Op("sandboxes.get", "GET", "/sandboxes/{sandbox_id}", reads=True)
LIST = Op("sandboxes.list", "GET", "/sandboxes", reads=True)
LIST_FILES = Op("sandboxes.list_files", "GET", "/sandboxes/{sandbox_id}/files", reads=True)
READ_FILE = Op("sandboxes.read_file", "GET", "/sandboxes/{sandbox_id}/file", reads=True)
REMOVE_FILE = Op("sandboxes.remove_file", "POST", "/sandboxes/{sandbox_id}/files/remove", outside=True)
RESOURCE_SUMMARY = Op(
    "sandboxes.resource_summary", "GET", "/sandboxes/{sandbox_id}/resource-summary", reads=True
)
TERMINATE = Op("sandboxes.terminate", "POST", "/sandboxes/{sandbox_id}/terminate")
WRITE_FILE = Op(
    "sandboxes.write_file", "POST", "/sandboxes/{sandbox_id}/files", outside=True, takes="content"
)
