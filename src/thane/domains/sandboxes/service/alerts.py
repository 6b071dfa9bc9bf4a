"""When an execution nears its memory limit: what is done about it, decided here and nowhere else."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from thane.domains.sandboxes.entities import AlertAction
from thane.kernel.ports.isolation import Isolation, Limits

MIB = 1 << 20


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that went off. `memory_mb`: the limit as it was raised; `stopped`: why it was ended."""

    value: Decimal
    threshold: Decimal
    action: AlertAction
    taken: str
    memory_mb: int | None = None
    stopped: str | None = None


class Watch:
    """One execution's. It goes off when use passes the threshold, and again after it was below."""

    def __init__(
        self,
        isolation: Isolation,
        job_id: str,
        limits: Limits,
        action: AlertAction,
        *,
        percent: int,
        most_mb: int,
    ) -> None:
        self.limits = limits
        self._isolation = isolation
        self._job_id = job_id
        self._action = action
        self._threshold = Decimal(percent)
        self._most = most_mb * MIB
        self._above = False

    async def look(self, memory_usage: Decimal) -> Alert | None:
        """Judge a sample, in per cent of the limit, and act on it."""
        was, self._above = self._above, memory_usage > self._threshold
        if was or not self._above:
            return None
        if self._action is AlertAction.STOP:
            await self._isolation.cancel(self._job_id)
            why = (
                f"stopped at {memory_usage:.0f} % of {self.limits.memory_bytes // MIB} MB of memory, as the"
                " sandbox's alert_action says; give it more memory, or another alert_action"
            )
            return self._alert(memory_usage, "stopped", stopped=why)
        if self._action is AlertAction.RAISE_LIMIT:
            return await self._raise(memory_usage)
        return self._alert(memory_usage, "notified")

    async def _raise(self, memory_usage: Decimal) -> Alert:
        before = self.limits.memory_bytes
        wanted = min(2 * before, self._most)
        if wanted <= before:
            return self._alert(
                memory_usage, f"not raised: {before // MIB} MB is the most that may be asked for"
            )
        if not await self._isolation.raise_memory(self._job_id, wanted):
            return self._alert(memory_usage, "not raised: it had ended")
        self.limits = msgspec.structs.replace(self.limits, memory_bytes=wanted)
        self._above = False
        taken = f"raised from {before // MIB} to {wanted // MIB} MB"
        return self._alert(memory_usage, taken, memory_mb=wanted // MIB)

    def _alert(
        self, value: Decimal, taken: str, *, memory_mb: int | None = None, stopped: str | None = None
    ) -> Alert:
        return Alert(
            value=value,
            threshold=self._threshold,
            action=self._action,
            taken=taken,
            memory_mb=memory_mb,
            stopped=stopped,
        )
