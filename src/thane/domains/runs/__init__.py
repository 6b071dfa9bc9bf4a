"""Runs: pieces of work whose trail hangs together."""

from thane.domains.runs.entities import Run, RunStatus
from thane.domains.runs.service import RunsService

__all__ = ["Run", "RunStatus", "RunsService"]
