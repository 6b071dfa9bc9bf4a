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
    AlertAction,
    DashboardData,
    FileGiven,
    FileResult,
    ResourceSummary,
    SandboxFiles,
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
        minimum_tier: Literal["T1", "T2-", "T2", "T3"] | None = None,
        alert_action: AlertAction | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncSandbox:
        """Create a sandbox: a place to run code, with limits.

        It is only a record until the first execution starts its process.

        `name`: A name to know it by
        `language`: What runs the code
        `minimum_tier`: Weakest isolation under which its code may run; null: the server's own
        `alert_action`: What happens when an execution nears its memory limit
        `metadata`: Anything of yours
        """
        return await self._core.call(
            ops.CREATE,
            AsyncSandbox,
            {},
            given(
                name=name,
                language=language,
                resource_limits=resource_limits,
                minimum_tier=minimum_tier,
                alert_action=alert_action,
                metadata=metadata,
            ),
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
        context: str | None = None,
        resource_limits: WantedLimits | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        files: Sequence[FileGiven] | None = None,
        outlive: bool = True,
    ) -> AsyncExecutionResult:
        """Run code in a sandbox and wait for its end.

        Without a `context` it runs in a fresh jail of its own, and what it leaves there can be read
        for a day. With one it runs in the living sandbox: files stay, and so do variables of Python
        code; shell commands run beside it. State that was lost is told once, by an execution that
        fails with `context_lost` or `sandbox_lost`; the next one begins anew.

        With `Accept: text/event-stream` output and samples come while it runs. With an
        `Idempotency-Key` it outlives your connection; without one, hanging up cancels it.

        `code`: The program
        `language`: What runs the code
        `context`: Run in the living sandbox, with this context's variables and its files
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
                context=context,
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
        context: str | None = None,
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
                context=context,
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

    async def list_files(self, sandbox_id: str, *, folder: str | None = None) -> SandboxFiles:
        """List the files of a living sandbox, at most 1,000, and what is no file that can be read.

        `folder`: Only what lies below it
        """
        return await self._core.call(
            ops.LIST_FILES, SandboxFiles, {"sandbox_id": sandbox_id}, given(folder=folder)
        )

    async def read_file(self, sandbox_id: str, name: str) -> bytes:
        """Read a file of a living sandbox: the answer's body is its content, as it is.

        `name`: A path in the workspace: `data/in.csv`
        """
        return await self._core.fetch(ops.READ_FILE, {"sandbox_id": sandbox_id}, given(name=name))

    async def remove_file(self, sandbox_id: str, name: str, *, outlive: bool = True) -> FileResult:
        """Remove a file of a living sandbox, or a folder with all that is in it.

        `name`: A path in the workspace: `data/in.csv`
        """
        return await self._core.call(
            ops.REMOVE_FILE, FileResult, {"sandbox_id": sandbox_id}, given(name=name), outlive=outlive
        )

    async def resource_summary(self, sandbox_id: str, *, hours: int | None = None) -> ResourceSummary:
        """Summarise what a sandbox used over a window.

        `hours`: How far back to look
        """
        return await self._core.call(
            ops.RESOURCE_SUMMARY, ResourceSummary, {"sandbox_id": sandbox_id}, given(hours=hours)
        )

    async def terminate(self, sandbox_id: str, *, if_match: int | None = None) -> AsyncSandbox:
        """Terminate a sandbox: nothing can be run in it any more.

        What runs in it is cancelled, and its files and its contexts' variables are gone.
        """
        return await self._core.call(
            ops.TERMINATE, AsyncSandbox, {"sandbox_id": sandbox_id}, given(), if_match=if_match
        )

    async def write_file(
        self, sandbox_id: str, name: str, *, content: bytes | None = None, outlive: bool = True
    ) -> FileResult:
        """Put a file into a sandbox: the body is its content, as it is, and takes an older one's place.

        The file is there for executions in the sandbox's contexts, until the sandbox ends.

        `name`: A path in the workspace: `data/in.csv`
        `content`: The bytes of the file
        """
        return await self._core.call(
            ops.WRITE_FILE,
            FileResult,
            {"sandbox_id": sandbox_id},
            {**given(name=name), "content": content or b""},
            outlive=outlive,
        )
