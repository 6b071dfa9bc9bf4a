"""What may be asked for: defaults and bounds of an execution's limits."""

from __future__ import annotations

import os
from decimal import Decimal

import msgspec

from thane.domains.sandboxes.entities import ResourceLimits
from thane.domains.sandboxes.errors import LimitsOutOfRange
from thane.kernel.errors import Fault
from thane.kernel.ports.isolation import Limits

MIB = 1 << 20
# A Python that imports nothing needs about 10 MB; below this nothing can run.
LEAST_MEMORY_MB = 16
LEAST_CPU = Decimal("0.01")


class WantedLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits as a caller gives them; what is left out takes the default."""

    max_memory_mb: int | None = None
    max_cpu_cores: Decimal | None = None
    max_disk_mb: int | None = None
    max_execution_time_sec: int | None = None


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults and most, from the settings."""

    default: ResourceLimits
    most: ResourceLimits

    def limits(self, wanted: WantedLimits | None, base: ResourceLimits | None = None) -> ResourceLimits:
        """What is asked for over `base` (the sandbox's, else the defaults).

        LimitsOutOfRange names every one that is off.
        """
        start = base or self.default
        given = (
            {}
            if wanted is None
            else {k: v for k, v in msgspec.structs.asdict(wanted).items() if v is not None}
        )
        made = msgspec.structs.replace(start, **given)
        least = {
            "max_memory_mb": LEAST_MEMORY_MB,
            "max_cpu_cores": LEAST_CPU,
            "max_disk_mb": 1,
            "max_execution_time_sec": 1,
        }
        faults = []
        for name, low in least.items():
            value, high = getattr(made, name), getattr(self.most, name)
            # A NaN cannot even be compared.
            if not Decimal(value).is_finite() or not low <= value <= high:
                faults.append(
                    Fault(f"/resource_limits/{name}", "out_of_range", f"is {value}; allowed: {low} to {high}")
                )
        if faults:
            told = "; ".join(f"{f.pointer.rpartition('/')[2]} {f.detail}" for f in faults)
            raise LimitsOutOfRange(f"these limits cannot be had here: {told}", faults=tuple(faults))
        return made


def port_limits(limits: ResourceLimits) -> Limits:
    """The same limits in the isolation program's units."""
    return Limits(
        memory_bytes=limits.max_memory_mb * MIB,
        cpu_millicores=int(limits.max_cpu_cores * 1000),
        disk_bytes=limits.max_disk_mb * MIB,
        timeout_ms=limits.max_execution_time_sec * 1000,
    )


def host_bounds() -> tuple[int, int]:
    """(MiB of memory, cores) that this host has."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    return memory, len(os.sched_getaffinity(0))
