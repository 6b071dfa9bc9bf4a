"""Api keys, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

CREATE = Op("api_keys.create", "POST", "/keys", secrets=("key",))
LIST = Op("api_keys.list", "GET", "/keys", reads=True)
REVOKE = Op("api_keys.revoke", "POST", "/keys/{key_id}/revoke")
