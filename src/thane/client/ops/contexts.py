"""Contexts, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

CREATE = Op("contexts.create", "POST", "/sandboxes/{sandbox_id}/contexts")
LIST = Op("contexts.list", "GET", "/sandboxes/{sandbox_id}/contexts", reads=True)
REMOVE = Op("contexts.remove", "POST", "/sandboxes/{sandbox_id}/contexts/{name}/remove", outside=True)
RESTART = Op("contexts.restart", "POST", "/sandboxes/{sandbox_id}/contexts/{name}/restart", outside=True)
