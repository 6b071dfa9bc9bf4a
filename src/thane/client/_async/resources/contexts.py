"""Contexts.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._async.core import AsyncCore
from thane.client.convert import given
from thane.client.ops import contexts as ops
from thane.client.types.sandboxes import (
    ContextList,
    ContextResult,
    ContextView,
)


class AsyncContexts:
    """What can be asked of contexts."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    async def create(self, sandbox_id: str, *, name: str | None = None) -> ContextView:
        """Create a context: variables that survive from one execution to the next.

        Its interpreter starts with its first execution. A context that is only used is created by that.

        `name`: A context's name: letters, digits, dots, dashes and underscores
        """
        return await self._core.call(ops.CREATE, ContextView, {"sandbox_id": sandbox_id}, given(name=name))

    async def list(self, sandbox_id: str) -> ContextList:
        """List a sandbox's contexts, and which of them have lost their variables."""
        return await self._core.call(ops.LIST, ContextList, {"sandbox_id": sandbox_id}, given())

    async def remove(self, sandbox_id: str, name: str, *, outlive: bool = True) -> ContextResult:
        """Remove a context with its interpreter and what runs in it.

        `name`: A context's name: letters, digits, dots, dashes and underscores
        """
        return await self._core.call(
            ops.REMOVE, ContextResult, {"sandbox_id": sandbox_id, "name": name}, given(), outlive=outlive
        )

    async def restart(self, sandbox_id: str, name: str, *, outlive: bool = True) -> ContextResult:
        """Restart a context: end its interpreter with what runs in it. Its next execution begins anew.

        `name`: A context's name: letters, digits, dots, dashes and underscores
        """
        return await self._core.call(
            ops.RESTART, ContextResult, {"sandbox_id": sandbox_id, "name": name}, given(), outlive=outlive
        )
