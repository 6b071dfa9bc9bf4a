"""Executions.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._sync.core import Core
from thane.client._sync.objects import Execution
from thane.client._sync.pages import Pages
from thane.client.convert import given
from thane.client.ops import executions as ops
from thane.client.types.sandboxes import (
    ExecutionChunk,
    FileContent,
)


class Executions:
    """What can be asked of executions."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def get(self, execution_id: str) -> Execution:
        """Show one execution with its code, output, use and cost."""
        return self._core.call(ops.GET, Execution, {"execution_id": execution_id}, given())

    def list(
        self,
        *,
        filter: str | None = None,
        sort: str | None = None,
        sandbox_id: str | None = None,
        search: str | None = None,
        page_size: int | None = None,
    ) -> Pages[Execution]:
        """List executions, filtered and sorted as you like, or search their code.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        `sandbox_id`: Only those of this sandbox
        `search`: Words in the code: `pandas OR "read csv" -test`
        """
        return Pages(
            self._core,
            ops.LIST,
            Execution,
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
    ) -> Pages[ExecutionChunk]:
        """List an execution's output as it came, byte for byte; kept for a day.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return Pages(
            self._core,
            ops.OUTPUT,
            ExecutionChunk,
            {"execution_id": execution_id},
            given(limit=page_size, filter=filter, sort=sort),
        )

    def read_file(self, execution_id: str, name: str) -> FileContent:
        """Read a file that an execution produced; files are kept for a day.

        `name`: As `output.files` names it
        """
        return self._core.call(ops.READ_FILE, FileContent, {"execution_id": execution_id}, given(name=name))
