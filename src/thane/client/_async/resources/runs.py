"""Runs.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence

from thane.client._async.core import AsyncCore
from thane.client._async.objects import AsyncRun
from thane.client._async.pages import AsyncPages
from thane.client.convert import given
from thane.client.ops import runs as ops
from thane.client.types.runs import CreateRun, OpenedRuns


class AsyncRuns:
    """What can be asked of runs."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    async def create(self, *, purpose: str | None = None) -> AsyncRun:
        """Open a run: a piece of work whose actions hang together.

        Send its id in the header `Thane-Run` with everything that belongs to it.

        `purpose`: What the run is for
        """
        return await self._core.call(ops.CREATE, AsyncRun, {}, given(purpose=purpose))

    async def create_many(self, runs: Sequence[CreateRun]) -> OpenedRuns:
        """Open up to 1,000 runs at once: all of them or none, in one entry of the ledger.

        `runs`: What to open
        """
        return await self._core.call(ops.CREATE_MANY, OpenedRuns, {}, given(runs=runs))

    async def finish(
        self, run_id: str, *, outcome: str | None = None, if_match: int | None = None
    ) -> AsyncRun:
        """Finish a run; nothing more can be done in it.

        `outcome`: How it ended, in your words
        """
        return await self._core.call(
            ops.FINISH, AsyncRun, {"run_id": run_id}, given(outcome=outcome), if_match=if_match
        )

    async def get(self, run_id: str) -> AsyncRun:
        """Show one run."""
        return await self._core.call(ops.GET, AsyncRun, {"run_id": run_id}, given())

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> AsyncPages[AsyncRun]:
        """List runs, filtered and sorted as you like.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return AsyncPages(
            self._core, ops.LIST, AsyncRun, {}, given(limit=page_size, filter=filter, sort=sort)
        )

    async def update(self, run_id: str, purpose: str, *, if_match: int | None = None) -> AsyncRun:
        """Say anew what a run is for, as long as it is open.

        `purpose`: What the run is for
        """
        return await self._core.call(
            ops.UPDATE, AsyncRun, {"run_id": run_id}, given(purpose=purpose), if_match=if_match
        )
