"""The table of hostile programs: every family in one tuple, and how many there are.

`python -m tests.hostile.table` prints the counts per family and, per tier, how many are stopped.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.hostile.families.amounts import DISK, MEMORY, OUTPUT
from tests.hostile.families.files import FILES
from tests.hostile.families.kernel import CALLS, LEAKS, MOUNTS, NAMESPACES, RIGHTS
from tests.hostile.families.network import NETWORK
from tests.hostile.families.others import ISOLATION, NEIGHBOURS, PROCESSES_OF_OTHERS
from tests.hostile.families.outputs import OUTPUTS
from tests.hostile.families.packages import PACKAGES
from tests.hostile.families.processes import PROCESSES
from tests.hostile.families.stateful import STATEFUL
from tests.hostile.families.trusted import TRUSTED
from tests.hostile.rows import TIERS, Program, Shown
from thane.kernel.ports.isolation import Tier

TABLE: tuple[Program, ...] = (
    *PROCESSES,
    *MEMORY,
    *DISK,
    *OUTPUT,
    *FILES,
    *PROCESSES_OF_OTHERS,
    *NEIGHBOURS,
    *STATEFUL,
    *ISOLATION,
    *NETWORK,
    *NAMESPACES,
    *MOUNTS,
    *CALLS,
    *RIGHTS,
    *LEAKS,
    *OUTPUTS,
    *TRUSTED,
    *PACKAGES,
)
BY_NAME = {program.name: program for program in TABLE}
FAMILIES = tuple(dict.fromkeys(program.family for program in TABLE))


def of_family(family: str) -> list[Program]:
    return [program for program in TABLE if program.family == family]


def stopped(programs: list[Program], tier: Tier, *, as_root: bool = True) -> int:
    return sum(not program.expected(tier, as_root=as_root).escapes for program in programs)


def selected(tier: Tier | None, *, as_root: bool, full: bool) -> list[Program]:
    """What is run on a tier, or without a jail (`None`). All of it in a full run; else each program on one
    tier, and those on all of which the tiers make something different. Few without a jail."""
    if full:
        return list(TABLE)
    tiers = (Tier.T2, Tier.T2_MINUS, Tier.T1) if as_root else (Tier.T2_MINUS, Tier.T1)
    if tier is None:
        return list(TABLE[:: 3 if as_root else 9])
    if tier not in tiers:
        return [] if tier != Tier.T3 else list(TABLE)
    step = len(tiers) if as_root else 3 * len(tiers)
    return [
        program
        for index, program in enumerate(TABLE)
        if index % step == tiers.index(tier) or (as_root and _tells_tiers_apart(program))
    ]


def _tells_tiers_apart(program: Program) -> bool:
    """Whether it reaches its end on one tier and not on another, or is stopped by other means there."""
    outcomes = {
        (expect.outcome, bool(expect.escapes)) for tier, expect in program.expect.items() if tier != Tier.T3
    }
    return len(outcomes) > 1


def counts() -> str:
    """One line per family: programs, how many are shown without a jail, how many each tier stops."""
    lines = [f"{'family':<20}{'programs':>9}{'shown':>7}" + "".join(f"{tier:>6}" for tier in TIERS)]
    for family in (*FAMILIES, "all"):
        programs = of_family(family) if family != "all" else list(TABLE)
        shown = Counter(isinstance(program.bare, Shown) for program in programs)[True]
        figures = "".join(f"{stopped(programs, tier):>6}" for tier in TIERS)
        lines.append(f"{family:<20}{len(programs):>9}{shown:>7}{figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(counts() + "\n")
