"""Setup links, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

CREATE = Op("setup_links.create", "POST", "/setup-links", secrets=("token", "path"))
USE = Op("setup_links.use", "POST", "/setup/{token}", secrets=("key",))
