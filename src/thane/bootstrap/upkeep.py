"""What keeps the store in order by itself: retention and the daily check of the counters."""

from __future__ import annotations

from collections.abc import Sequence

from thane.kernel.jobs import CounterCheck, Schedule
from thane.kernel.module import Module
from thane.kernel.settings_schema import Settings
from thane.kernel.telemetry import Telemetry
from thane.maintenance.counters import CounterWatch
from thane.maintenance.history import HistoryRetention
from thane.maintenance.retention import RowRetention


def upkeep(modules: Sequence[Module], settings: Settings, telemetry: Telemetry) -> tuple[Schedule, ...]:
    """The maintenance schedules over these modules."""
    rows = RowRetention([rule for module in modules for rule in module.retention], settings.retention)
    checks = [c for module in modules for c in module.counters if isinstance(c, CounterCheck)]
    differences = telemetry.gauge(
        "thane_counter_differences",
        "Counters that differed from their sources when they were last recomputed",
    ).child()
    return (
        rows.schedule(),
        HistoryRetention(settings.retention.history_days).schedule(),
        CounterWatch(checks, differences.set).schedule(),
    )
