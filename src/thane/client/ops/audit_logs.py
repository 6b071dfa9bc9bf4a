"""Audit logs, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

LIST = Op("audit_logs.list", "GET", "/audit-logs", reads=True)
