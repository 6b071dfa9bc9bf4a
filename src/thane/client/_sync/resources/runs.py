"""Runs.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence

from thane.client._sync.core import Core
from thane.client._sync.objects import Run
from thane.client._sync.pages import Pages
from thane.client.convert import given
from thane.client.ops import runs as ops
from thane.client.types.runs import CreateRun, OpenedRuns


class Runs:
    """What can be asked of runs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(self, *, purpose: str | None = None) -> Run:
        """Open a run: a piece of work whose actions hang together.

        Send its id in the header `Thane-Run` with everything that belongs to it.

        `purpose`: What the run is for
        """
        return self._core.call(ops.CREATE, Run, {}, given(purpose=purpose))

    def create_many(self, runs: Sequence[CreateRun]) -> OpenedRuns:
        """Open up to 1,000 runs at once: all of them or none, in one entry of the ledger.

        `runs`: What to open
        """
        return self._core.call(ops.CREATE_MANY, OpenedRuns, {}, given(runs=runs))

    def finish(self, run_id: str, *, outcome: str | None = None, if_match: int | None = None) -> Run:
        """Finish a run; nothing more can be done in it.

        `outcome`: How it ended, in your words
        """
        return self._core.call(ops.FINISH, Run, {"run_id": run_id}, given(outcome=outcome), if_match=if_match)

    def get(self, run_id: str) -> Run:
        """Show one run."""
        return self._core.call(ops.GET, Run, {"run_id": run_id}, given())

    def list(
        self, *, filter: str | None = None, sort: str | None = None, page_size: int | None = None
    ) -> Pages[Run]:
        """List runs, filtered and sorted as you like.

        `filter`: Such as `status = "queued" && cost > 1.5`.
        `sort`: Fields, each with `-` for descending: `-created_at,name`.
        """
        return Pages(self._core, ops.LIST, Run, {}, given(limit=page_size, filter=filter, sort=sort))

    def update(self, run_id: str, purpose: str, *, if_match: int | None = None) -> Run:
        """Say anew what a run is for, as long as it is open.

        `purpose`: What the run is for
        """
        return self._core.call(ops.UPDATE, Run, {"run_id": run_id}, given(purpose=purpose), if_match=if_match)
