"""Resource alerts.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._async.core import AsyncCore
from thane.client._async.pages import AsyncPages
from thane.client.convert import given
from thane.client.ops import resource_alerts as ops
from thane.client.types.sandboxes import (
    ResourceAlert,
)


class AsyncResourceAlerts:
    """What can be asked of resource alerts."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    def list(
        self,
        sandbox_id: str,
        *,
        filter: str | None = None,
        sort: str | None = None,
        page_size: int | None = None,
    ) -> AsyncPages[ResourceAlert]:
        """List the alerts of a sandbox: when its executions neared their memory limit, and what was done.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return AsyncPages(
            self._core,
            ops.LIST,
            ResourceAlert,
            {"sandbox_id": sandbox_id},
            given(limit=page_size, filter=filter, sort=sort),
        )
