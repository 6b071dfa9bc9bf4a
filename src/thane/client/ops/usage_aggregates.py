"""Usage aggregates, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

LIST = Op("usage_aggregates.list", "GET", "/usage", reads=True)
