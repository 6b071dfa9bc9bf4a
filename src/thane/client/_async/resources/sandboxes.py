"""Sandboxes.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from thane.client._async.core import AsyncCore
from thane.client._async.objects import AsyncExecutionResult, AsyncSandbox
from thane.client._async.pages import AsyncPages
from thane.client.convert import given
from thane.client.events import Progress
from thane.client.ops import sandboxes as ops
from thane.client.types.sandboxes import (
    DashboardData,
    FileGiven,
    ResourceSummary,
    WantedLimits,
)


class AsyncSandboxes:
    """What can be asked of sandboxes."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    async def create(
        self,
        *,
        name: str | None = None,
        language: Literal["python", "shell"] | None = None,
        resource_limits: WantedLimits | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncSandbox:
        """Create a sandbox: a place to run code, with limits.

        It is only a record until the first execution starts its process.

        `name`: A name to know it by
        `language`: What runs the code
        `metadata`: Anything of yours
        """
        return await self._core.call(
            ops.CREATE,
            AsyncSandbox,
            {},
            given(name=name, language=language, resource_limits=resource_limits, metadata=metadata),
        )

    async def dashboard(self) -> DashboardData:
        """Show live sandboxes, the last ten executions of 24 hours, and the day's totals."""
        return await self._core.call(ops.DASHBOARD, DashboardData, {}, given())

    async def execute(
        self,
        sandbox_id: str,
        code: str,
        *,
        language: Literal["python", "shell"] | None = None,
        resource_limits: WantedLimits | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        files: Sequence[FileGiven] | None = None,
        outlive: bool = True,
    ) -> AsyncExecutionResult:
        """Run code in a sandbox and wait for its end.

        With `Accept: text/event-stream` output and samples come while it runs. With an
        `Idempotency-Key` it outlives your connection; without one, hanging up cancels it.

        `code`: The program
        `language`: What runs the code
        `env`: Environment; never stored
        `stdin`: Standard input; never stored
        """
        return await self._core.call(
            ops.EXECUTE,
            AsyncExecutionResult,
            {"sandbox_id": sandbox_id},
            given(
                code=code,
                language=language,
                resource_limits=resource_limits,
                env=env,
                stdin=stdin,
                files=files,
            ),
            outlive=outlive,
        )

    async def stream_execute(
        self,
        sandbox_id: str,
        code: str,
        *,
        language: Literal["python", "shell"] | None = None,
        resource_limits: WantedLimits | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        files: Sequence[FileGiven] | None = None,
        outlive: bool = True,
    ) -> AsyncIterator[Progress | AsyncExecutionResult]:
        """`execute`, yielding what comes while it is at work, and its result as the last."""
        async for event in self._core.stream(
            ops.EXECUTE,
            AsyncExecutionResult,
            {"sandbox_id": sandbox_id},
            given(
                code=code,
                language=language,
                resource_limits=resource_limits,
                env=env,
                stdin=stdin,
                files=files,
            ),
            outlive=outlive,
        ):
            yield event

    async def get(self, sandbox_id: str) -> AsyncSandbox:
        """Show one sandbox."""
        return await self._core.call(ops.GET, AsyncSandbox, {"sandbox_id": sandbox_id}, given())

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> AsyncPages[AsyncSandbox]:
        """List sandboxes, filtered and sorted as you like.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return AsyncPages(
            self._core, ops.LIST, AsyncSandbox, {}, given(limit=page_size, filter=filter, sort=sort)
        )

    async def resource_summary(self, sandbox_id: str, *, hours: int | None = None) -> ResourceSummary:
        """Summarise what a sandbox used over a window.

        `hours`: How far back to look
        """
        return await self._core.call(
            ops.RESOURCE_SUMMARY, ResourceSummary, {"sandbox_id": sandbox_id}, given(hours=hours)
        )

    async def terminate(self, sandbox_id: str, *, if_match: int | None = None) -> AsyncSandbox:
        """Terminate a sandbox: nothing can be run in it any more."""
        return await self._core.call(
            ops.TERMINATE, AsyncSandbox, {"sandbox_id": sandbox_id}, given(), if_match=if_match
        )
