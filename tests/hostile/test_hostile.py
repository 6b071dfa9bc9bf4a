"""Every hostile program in a jail of every tier that is to be had here, and without one.

By default each program is run on one tier, and a part of them without a jail; with
THANE_TEST_HOSTILE_FULL=1 all of them on all tiers, as root and as an ordinary user.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.hostile import bare, jails
from tests.hostile.conftest import FULL, Batches
from tests.hostile.defects import DEFECTS, known
from tests.hostile.rows import TIERS, NotShown, Program, Shown
from tests.hostile.table import BY_NAME, TABLE, counts, selected
from thane.kernel.ports.isolation import Tier

pytestmark = pytest.mark.hostile

_AS_ROOT = os.getuid() == 0


def test_the_table_has_at_least_a_hundred_programs() -> None:
    print(counts())
    assert len(TABLE) >= 100
    assert [name for name, count in Counter(program.name for program in TABLE).items() if count > 1] == []
    for program in TABLE:
        assert set(program.expect) == set(TIERS), program.name
    assert {defect.program for defect in DEFECTS} <= BY_NAME.keys()


def test_each_program_is_run_by_default() -> None:
    for as_root in (True, False):
        everywhere = {tier: selected(tier, as_root=as_root, full=True) for tier in TIERS}
        assert all(programs == list(TABLE) for programs in everywhere.values())
    run = [selected(tier, as_root=True, full=False) for tier in (Tier.T2, Tier.T2_MINUS, Tier.T1)]
    assert {program.name for programs in run for program in programs} == BY_NAME.keys()


@pytest.mark.parametrize(
    ("tier", "program"),
    [
        pytest.param(tier, program, id=f"{tier}-{program.name}")
        for tier in TIERS
        for program in selected(tier, as_root=_AS_ROOT, full=FULL)
    ],
)
def test_in_a_jail(batches: Batches, tier: Tier, program: Program) -> None:
    result = batches.of(tier).results[program.name]
    found = jails.complaints(program, tier, result, as_root=_AS_ROOT)
    defect = known(program, tier, as_root=_AS_ROOT, mounts=bare.namespaces_are_allowed())
    if defect and found:
        pytest.xfail(defect)
    assert not defect, f"it is stopped now: take it out of defects.py ({defect})"
    assert found == [], "\n".join([*found, str(result)])


@pytest.mark.parametrize("tier", TIERS, ids=str)
def test_the_neighbours_and_the_isolation_program_did_not_notice(batches: Batches, tier: Tier) -> None:
    batch = batches.of(tier)
    assert len(batch.neighbours) == (2 if tier in (Tier.T2, Tier.T2_MINUS) else 1)
    for neighbour in batch.neighbours:
        assert jails.is_well(neighbour), neighbour
    assert batch.survived


@pytest.mark.parametrize(
    "program",
    [program for program in selected(None, as_root=_AS_ROOT, full=FULL) if isinstance(program.bare, Shown)],
    ids=lambda program: program.name,
)
def test_without_a_jail(bare_runs: bare.Runs, program: Program) -> None:
    how = program.bare
    assert isinstance(how, Shown)
    if how.root_only and not _AS_ROOT:
        pytest.skip("without a jail it works as root only; shown in the run as root")
    if not bare.namespaces_are_allowed():
        pytest.skip("the stand-in host needs namespaces; shown in the runs that have them")
    found = bare_runs.of(program)
    if found.lacking:
        pytest.skip(f"this machine has no such thing: {', '.join(how.may_lack)}")
    assert found.shown, found.detail


def test_what_is_not_shown_says_why() -> None:
    for program in TABLE:
        if isinstance(program.bare, NotShown):
            assert len(program.bare.reason) > 10, program.name
