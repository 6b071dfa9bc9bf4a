"""What can be asked of runs."""

from __future__ import annotations

from typing import Annotated

import msgspec

from thane.domains.runs.entities import Run
from thane.domains.runs.service import RunsService
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.listing import ListRequest, list_page
from thane.kernel.paging import Page
from thane.kernel.records import Unit

Purpose = Annotated[str, msgspec.Meta(max_length=500, description="What the run is for")]
# What one unit takes: its entry names every row.
MANY = 1000


class CreateRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    purpose: Purpose = ""


@operation(
    "runs.create",
    http="POST /runs",
    needs="runs.create",
    effect=Effect.RECORDS,
    entity=Run,
    example=Example({"purpose": "monthly report"}),
)
async def create_run(runs: RunsService, unit: Unit, request: CreateRun) -> Run:
    """Open a run: a piece of work whose actions hang together.

    Send its id in the header `Thane-Run` with everything that belongs to it.
    """
    return await runs.open(unit, request.purpose)


class CreateRuns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    runs: Annotated[
        tuple[CreateRun, ...], msgspec.Meta(min_length=1, max_length=MANY, description="What to open")
    ]


class OpenedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that were opened, in the order of the request."""

    items: tuple[Run, ...]


@operation(
    "runs.create_many",
    http="POST /runs/batch",
    needs="runs.create",
    effect=Effect.RECORDS,
    entity=Run,
    example=Example({"runs": [{"purpose": "monthly report"}, {"purpose": "clean up"}]}),
)
async def create_runs(runs: RunsService, unit: Unit, request: CreateRuns) -> OpenedRuns:
    """Open up to 1,000 runs at once: all of them or none, in one entry of the ledger."""
    return OpenedRuns(items=tuple([await runs.open(unit, wanted.purpose) for wanted in request.runs]))


class UpdateRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    run_id: str
    purpose: Purpose


@operation(
    "runs.update",
    http="PATCH /runs/{run_id}",
    needs="runs.update",
    effect=Effect.RECORDS,
    entity=Run,
    example=Example({"run_id": "$runs.create/id", "purpose": "quarterly report"}),
)
async def update_run(runs: RunsService, unit: Unit, request: UpdateRun) -> Run:
    """Say anew what a run is for, as long as it is open."""
    return await runs.rename(unit, request.run_id, request.purpose)


class FinishRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    run_id: str
    outcome: Annotated[str | None, msgspec.Meta(description="How it ended, in your words")] = None


@operation(
    "runs.finish",
    http="POST /runs/{run_id}/finish",
    needs="runs.finish",
    effect=Effect.RECORDS,
    entity=Run,
    status=200,
    example=Example({"run_id": "$runs.create/id", "outcome": "completed"}),
)
async def finish_run(runs: RunsService, unit: Unit, request: FinishRun) -> Run:
    """Finish a run; nothing more can be done in it."""
    return await runs.finish(unit, request.run_id, request.outcome)


class GetRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    run_id: str


@operation(
    "runs.get",
    http="GET /runs/{run_id}",
    needs="runs.get",
    effect=Effect.NONE,
    entity=Run,
    example=Example({"run_id": "$runs.create/id"}),
)
async def get_run(runs: RunsService, unit: Unit, request: GetRun) -> Run:
    """Show one run."""
    return await unit.get(Run, request.run_id)


@operation(
    "runs.list",
    http="GET /runs",
    needs="runs.list",
    effect=Effect.NONE,
    entity=Run,
    lists=True,
    example=Example(),
)
async def list_runs(runs: RunsService, unit: Unit, request: ListRequest) -> Page[Run]:
    """List runs, filtered and sorted as you like."""
    return await list_page(unit, Run, request)


ALL = (create_run, create_runs, update_run, finish_run, get_run, list_runs)
