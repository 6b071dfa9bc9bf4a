"""Billing events.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._async.core import AsyncCore
from thane.client._async.pages import AsyncPages
from thane.client.convert import given
from thane.client.ops import billing_events as ops
from thane.client.types.billing import BillingEvent


class AsyncBillingEvents:
    """What can be asked of billing events."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> AsyncPages[BillingEvent]:
        """List what was billed, one event for each execution.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return AsyncPages(
            self._core, ops.LIST, BillingEvent, {}, given(limit=page_size, filter=filter, sort=sort)
        )
