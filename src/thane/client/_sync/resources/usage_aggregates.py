"""Usage aggregates.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._sync.core import Core
from thane.client._sync.pages import Pages
from thane.client.convert import given
from thane.client.ops import usage_aggregates as ops
from thane.client.types.billing import UsageAggregate


class UsageAggregates:
    """What can be asked of usage aggregates."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> Pages[UsageAggregate]:
        """List months of use by user and project: executions, time and cost.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return Pages(
            self._core, ops.LIST, UsageAggregate, {}, given(limit=page_size, filter=filter, sort=sort)
        )
