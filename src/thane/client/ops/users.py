"""Users, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

CURRENT = Op("users.current", "GET", "/me", reads=True)
