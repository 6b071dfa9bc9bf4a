"""What runs hands to the rest."""

from __future__ import annotations

from thane.domains.runs import operations
from thane.domains.runs.entities import Run
from thane.domains.runs.service import RunsService
from thane.kernel.module import Module

ENTITIES = (Run,)


def module(runs: RunsService) -> Module:
    return Module(name="runs", entities=ENTITIES, operations=((runs, operations.ALL),))
