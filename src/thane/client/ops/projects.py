"""Projects, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

GET = Op("projects.get", "GET", "/projects/{project_id}", reads=True)
LIST = Op("projects.list", "GET", "/projects", reads=True)
