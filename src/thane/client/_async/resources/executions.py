"""Executions.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._async.core import AsyncCore
from thane.client._async.objects import AsyncExecution
from thane.client._async.pages import AsyncPages
from thane.client.convert import given
from thane.client.ops import executions as ops
from thane.client.types.sandboxes import (
    ExecutionChunk,
    FileContent,
)


class AsyncExecutions:
    """What can be asked of executions."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    async def get(self, execution_id: str) -> AsyncExecution:
        """Show one execution with its code, output, use and cost."""
        return await self._core.call(ops.GET, AsyncExecution, {"execution_id": execution_id}, given())

    def list(
        self,
        *,
        filter: str | None = None,
        sort: str | None = None,
        sandbox_id: str | None = None,
        search: str | None = None,
        page_size: int | None = None,
    ) -> AsyncPages[AsyncExecution]:
        """List executions, filtered and sorted as you like, or search their code.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        `sandbox_id`: Only those of this sandbox
        `search`: Words in the code: `pandas OR "read csv" -test`
        """
        return AsyncPages(
            self._core,
            ops.LIST,
            AsyncExecution,
            {},
            given(limit=page_size, filter=filter, sort=sort, sandbox_id=sandbox_id, search=search),
        )

    def output(
        self,
        execution_id: str,
        *,
        filter: str | None = None,
        sort: str | None = None,
        page_size: int | None = None,
    ) -> AsyncPages[ExecutionChunk]:
        """List an execution's output as it came, byte for byte; kept for a day.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return AsyncPages(
            self._core,
            ops.OUTPUT,
            ExecutionChunk,
            {"execution_id": execution_id},
            given(limit=page_size, filter=filter, sort=sort),
        )

    async def read_file(self, execution_id: str, name: str) -> FileContent:
        """Read a file that an execution produced; files are kept for a day.

        `name`: As `output.files` names it
        """
        return await self._core.call(
            ops.READ_FILE, FileContent, {"execution_id": execution_id}, given(name=name)
        )
