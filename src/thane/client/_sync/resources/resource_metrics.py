"""Resource metrics.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thane.client._sync.core import Core
from thane.client._sync.pages import Pages
from thane.client.convert import given
from thane.client.ops import resource_metrics as ops
from thane.client.types.sandboxes import (
    ResourceMetric,
)


class ResourceMetrics:
    """What can be asked of resource metrics."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def list(
        self,
        execution_id: str,
        *,
        filter: str | None = None,
        sort: str | None = None,
        page_size: int | None = None,
    ) -> Pages[ResourceMetric]:
        """List an execution's samples of use, in per cent of its limits.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return Pages(
            self._core,
            ops.LIST,
            ResourceMetric,
            {"execution_id": execution_id},
            given(limit=page_size, filter=filter, sort=sort),
        )

    def record(self, execution_id: str, custom_metrics: Mapping[str, Any]) -> ResourceMetric:
        """Add figures of yours to an execution's samples, while it runs or afterwards.

        `custom_metrics`: Figures of yours, by name
        """
        return self._core.call(
            ops.RECORD, ResourceMetric, {"execution_id": execution_id}, given(custom_metrics=custom_metrics)
        )
