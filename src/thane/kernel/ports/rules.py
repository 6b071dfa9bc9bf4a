"""Port: a rule allows, denies or asks. Judged inside the unit, so that what it reads is guarded.

`ask` means that people must approve first; the implementation then writes the approval and
raises, naming it. Without an implementation everything that was authorised is allowed.
"""

from __future__ import annotations

from typing import Any, Protocol

from thane.kernel.records.unit import Unit


class Rules(Protocol):
    async def judge(self, unit: Unit, operation: str, request: Any) -> None:
        """Return to allow; raises Denied, or an error of the approvals domain that says what is awaited."""


class AllOf:
    """Several sets of rules, judged in order; the first that objects decides."""

    def __init__(self, *rules: Rules) -> None:
        self._rules = rules

    async def judge(self, unit: Unit, operation: str, request: Any) -> None:
        for rules in self._rules:
            await rules.judge(unit, operation, request)
