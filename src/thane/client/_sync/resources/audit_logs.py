"""Audit logs.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._sync.core import Core
from thane.client._sync.pages import Pages
from thane.client.convert import given
from thane.client.ops import audit_logs as ops
from thane.client.types.audit import AuditLog


class AuditLogs:
    """What can be asked of audit logs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> Pages[AuditLog]:
        """Show who did what: changes from the ledger and reads and refusals beside them, newest first.

        `entry_index` leads to the proof (`ledger.prove`); it is null for reads and refusals,
        whose digest is in the ledger once a minute. Filter by user_id, actor, action,
        resource_type, resource_id, status, request_id, run_id or created_at.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return Pages(self._core, ops.LIST, AuditLog, {}, given(limit=page_size, filter=filter, sort=sort))
