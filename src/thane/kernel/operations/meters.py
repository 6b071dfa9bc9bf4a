"""The observer that counts: what the pipeline tells it becomes the metrics of `/metrics`."""

from __future__ import annotations

from thane.kernel.telemetry import OperationMeter, Telemetry


class Meters:
    """An `Observer` over the process's telemetry."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._by_name: dict[str, OperationMeter] = {}
        self._dropped = telemetry.counter(
            "thane_access_rows_dropped_total", "Access rows the store could not take"
        ).child()

    def answered(self, operation: str, status: int, code: str | None, seconds: float) -> None:
        meter = self._by_name.get(operation)
        if meter is None:
            meter = self._by_name[operation] = self._telemetry.operation(operation)
        meter.observe(code or "ok", seconds)

    def access_rows_dropped(self, count: int) -> None:
        self._dropped.add(count)
