"""What a verification found: problems as they come, counts, and the summary."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from thane.kernel.errors import ThaneError
from thane.kernel.jobs.checks import Problem

MOST_PROBLEMS = 1000
# What an engine can raise over a page with a row that somebody has changed by hand.
UNREADABLE = (ThaneError, msgspec.MsgspecError, ValueError, TypeError, AttributeError, KeyError)
Progress = Callable[[int, int], None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result. `problems` holds the first thousand; `found` counts all of them.

    `blanked` bodies and details are those that retention or erasure has emptied: their
    digests stand, their contents cannot be checked any more.
    """

    tenants: int
    entries: int
    rows: int
    checkpoints: int
    blanked: int
    signatures_checked: bool
    seconds: float
    problems: tuple[Problem, ...]
    found: int

    @property
    def ok(self) -> bool:
        return self.found == 0

    def text(self) -> str:
        """A few lines for people."""
        signed = "" if self.signatures_checked else " (their signatures were NOT checked: no key)"
        lines = [
            f"{self.entries} entries of {self.tenants} tenants, {self.rows} rows, "
            f"{self.checkpoints} checkpoints{signed} in {self.seconds:.1f} s"
        ]
        if self.blanked:
            lines.append(f"{self.blanked} contents were blanked by retention or erasure; their digests stand")
        if self.ok:
            lines.append("Everything agrees.")
        else:
            lines.append(f"{self.found} problems:")
            lines += [f"  {problem}" for problem in self.problems]
            if self.found > len(self.problems):
                lines.append(f"  … and {self.found - len(self.problems)} more")
        return "\n".join(lines)


class Findings:
    """Collects while a verification runs."""

    def __init__(self, progress: Progress | None) -> None:
        self.problems: list[Problem] = []
        self.found = 0
        self.done = 0
        self.total = 0
        self.entries = 0
        self.rows = 0
        self.checkpoints = 0
        self.blanked = 0
        self._progress = progress

    def problem(
        self, kind: str, tenant_id: str, message: str, *, index: int | None = None, row: str | None = None
    ) -> None:
        """Note one thing that does not agree."""
        self.take(Problem(kind=kind, tenant_id=tenant_id, message=message, index=index, row=row))

    def take(self, problem: Problem) -> None:
        self.found += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def step(self, count: int) -> None:
        """So many more entries or rows have been looked at."""
        self.done += count
        self.total = max(self.total, self.done)  # a running owner adds some
        if self._progress is not None:
            self._progress(self.done, self.total)
