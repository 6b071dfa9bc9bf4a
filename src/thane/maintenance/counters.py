"""Counters against their sources, once a day: a difference is corruption, and operators are to hear of it.

The same check as in `thane verify`. It only reads and reports; it must not mend a counter,
because a wrong one says that something else is wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from thane.kernel.jobs import CounterCheck, Schedule, Tools
from thane.maintenance.findings import Findings
from thane.maintenance.verify_rows import check_counter

log = logging.getLogger(__name__)

CRON: Final = "11 4 * * *"


class CounterWatch:
    """Recomputes every counter of every tenant. `report` gets the number of differences of each run."""

    def __init__(self, checks: Sequence[CounterCheck], report: Callable[[int], None]) -> None:
        self._checks = tuple(checks)
        self._report = report

    def schedule(self) -> Schedule:
        """Once a day."""

        async def run(tools: Tools, due: Any) -> None:
            del due
            await self.run(tools)

        return Schedule(name="counters", cron=CRON, run=run)

    async def run(self, tools: Tools) -> int:
        """Check all of them now; the number of differences."""
        findings = Findings(None)
        for tenant_id in await tools.records.engine.logs():
            for check in self._checks:
                await check_counter(tools.records, check, tenant_id, findings)
        for problem in findings.problems:
            log.error(
                "a counter is not what its sources make: %s",
                problem.message,
                extra={"fields": {"tenant": problem.tenant_id, "row": problem.row}},
            )
        self._report(findings.found)
        return findings.found
