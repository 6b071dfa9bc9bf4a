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


class CreateRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    purpose: Annotated[str, msgspec.Meta(max_length=500, description="What the run is for")] = ""


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


ALL = (create_run, finish_run, get_run, list_runs)
