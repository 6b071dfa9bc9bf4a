"""What `thane doctor` finds out about a machine: one finding for each thing it looked at. Types only."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from thane.kernel.ports.isolation import TierReport


class Grade(StrEnum):
    """How bad it is. Only a `failure` keeps Thane from working as the settings want it."""

    OK = "ok"
    NOTE = "note"  # worth knowing, or not to be found out here
    WARNING = "warning"
    FAILURE = "failure"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `remedy` is the command that mends it; empty if nothing is to mend."""

    area: str
    check: str
    grade: Grade
    detail: str
    remedy: str = ""


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """All findings about a machine and a data folder, with the isolation ladder as it was probed."""

    data: str
    isolation: tuple[TierReport, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing fails; warnings do not count."""
        return all(finding.grade is not Grade.FAILURE for finding in self.findings)
