"""What a program does reach today though its tier should stop it: known defects, each with its cure.

The table says what is right. A test whose program is named here is expected to fail; when it no
longer does, the test fails until the entry is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.hostile.rows import Program
from thane.kernel.ports.isolation import Tier


@dataclass(frozen=True)
class Defect:
    program: str
    tiers: frozenset[Tier]
    what: str
    as_root: bool = True
    as_user: bool = True
    without_mounts: bool = (
        False  # only where new namespaces are refused, so that workspaces are plain folders
    )


DEFECTS: tuple[Defect, ...] = ()


def known(program: Program, tier: Tier, *, as_root: bool, mounts: bool) -> str:
    """What is known to be wrong with this program on this tier; empty if nothing is."""
    for defect in DEFECTS:
        concerns = defect.as_root if as_root else defect.as_user
        if defect.without_mounts and mounts:
            continue
        if concerns and defect.program == program.name and tier in defect.tiers:
            return defect.what
    return ""
