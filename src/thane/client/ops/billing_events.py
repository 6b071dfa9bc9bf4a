"""Billing events, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

LIST = Op("billing_events.list", "GET", "/billing/events", reads=True)
