"""Settings as the values that services take. Pure; what cannot be a value is refused in `place.py`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import msgspec

from thane.domains.billing import Prices
from thane.domains.sandboxes import Bounds, Pace, ResourceLimits, host_bounds
from thane.kernel.clock import MICROSECOND, Clock
from thane.kernel.jobs import LedgerSigner, Periodic
from thane.kernel.settings_schema import Settings
from thane.kernel.telemetry import CacheMeter, OperationMeter, QueryMeter, Telemetry

log = logging.getLogger(__name__)

HOUR_US = 3_600_000_000
# A signing round takes its own time on top of the pause before it.
PAUSE_SHARE = 0.8


class Meters:
    """The kernel's and the domains' meters on the telemetry."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        # Kept where they are used in every request: a look-up by labels costs more than the counting.
        self._queries: dict[tuple[str, str], QueryMeter] = {}
        self._operations: dict[str, OperationMeter] = {}
        self._caches: dict[str, CacheMeter] = {}

    def query(self, verb: str, table: str, seconds: float) -> None:
        meter = self._queries.get((verb, table))
        if meter is None:
            meter = self._queries[verb, table] = self._telemetry.query(verb, table)
        meter.observe(seconds)

    def answered(self, operation: str, status: int, code: str | None, seconds: float) -> None:
        meter = self._operations.get(operation)
        if meter is None:
            meter = self._operations[operation] = self._telemetry.operation(operation)
        meter.observe(code or "ok", seconds)

    def access_rows_dropped(self, count: int) -> None:
        log.error("access rows were dropped", extra={"fields": {"count": count}})

    def cache(self, name: str, *, hit: bool) -> None:
        meter = self._caches.get(name)
        if meter is None:
            meter = self._caches[name] = self._telemetry.cache(name)
        if hit:
            meter.hit()
        else:
            meter.miss()


def prices(settings: Settings) -> Prices:
    """The price table."""
    table = settings.billing
    return Prices(
        compute_unit_usd=table.compute_unit_usd, unit_memory_bytes=table.compute_unit_memory_mb << 20
    )


def bounds(settings: Settings) -> Bounds:
    """Defaults and most of the settings, where 0 means what the host has."""
    isolation = settings.isolation
    memory, cores = host_bounds()
    return Bounds(
        default=ResourceLimits(
            max_memory_mb=isolation.memory_mb,
            max_cpu_cores=isolation.cpu_cores,
            max_disk_mb=isolation.disk_mb,
            max_execution_time_sec=isolation.timeout_secs,
        ),
        most=ResourceLimits(
            max_memory_mb=min(isolation.max_memory_mb or memory, memory),
            max_cpu_cores=min(isolation.max_cpu_cores or Decimal(cores), Decimal(cores)),
            max_disk_mb=isolation.max_disk_mb,
            max_execution_time_sec=isolation.max_timeout_secs,
        ),
    )


def pace(settings: Settings, limits: Bounds) -> Pace:
    """How running code is watched."""
    isolation = settings.isolation
    return Pace(
        sample_ms=isolation.sample_ms,
        alert_percent=isolation.alert_percent,
        most_memory_mb=limits.most.max_memory_mb,
        idle_secs=isolation.sandbox_idle_secs,
    )


def signer_jobs(signer: LedgerSigner, settings: Settings) -> list[Periodic]:
    """The signer's jobs, signing as often as the settings say."""
    pause = settings.ledger.sign_interval_ms / 1000 * PAUSE_SHARE
    return [
        msgspec.structs.replace(job, seconds=pause) if job.name == "signer" else job
        for job in signer.periodic()
    ]


def access_kept_since(settings: Settings, clock: Clock) -> Callable[[], int]:
    """From when (µs) on all access rows are there; what is older may be gone by retention."""
    kept_us = timedelta(days=settings.retention.access_days) // MICROSECOND

    def since() -> int:
        return max(0, clock.now_us() - kept_us) if kept_us else 0

    return since


def identity_cache(settings: Settings) -> tuple[int, int]:
    """(entries, seconds) that an identity is kept in memory; 0 seconds where the cache is off."""
    cache = settings.cache
    return cache.max_entries, cache.max_ttl_secs if cache.enabled else 0
