"""Stage: do the tenant's rules allow it? Inside the unit, so that a rule cannot change unseen."""

from __future__ import annotations

from thane.kernel.context import PrincipalKind
from thane.kernel.operations.call import Call
from thane.kernel.ports.rules import Rules
from thane.kernel.records.unit import Unit


class JudgeRules:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def __call__(self, unit: Unit, call: Call) -> None:
        """Raises what the rules say, or returns. Principal `system` is under no tenant's rules."""
        if call.known.principal.kind is not PrincipalKind.SYSTEM:
            await self._rules.judge(unit, call.operation.name, call.request)
