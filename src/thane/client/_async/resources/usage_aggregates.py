"""Usage aggregates.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._async.core import AsyncCore
from thane.client._async.pages import AsyncPages
from thane.client.convert import given
from thane.client.ops import usage_aggregates as ops
from thane.client.types.billing import UsageAggregate


class AsyncUsageAggregates:
    """What can be asked of usage aggregates."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> AsyncPages[UsageAggregate]:
        """List months of use by user and project: executions, time and cost.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return AsyncPages(
            self._core, ops.LIST, UsageAggregate, {}, given(limit=page_size, filter=filter, sort=sort)
        )
