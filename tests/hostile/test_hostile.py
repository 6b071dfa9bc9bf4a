"""Every hostile program in a jail of every tier that is to be had here, and without one."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.hostile import bare, jails
from tests.hostile.conftest import Batches
from tests.hostile.rows import TIERS, NotShown, Program, Shown
from tests.hostile.table import TABLE, counts
from thane.kernel.ports.isolation import Tier

pytestmark = pytest.mark.hostile


def test_the_table_has_at_least_a_hundred_programs() -> None:
    print(counts())
    assert len(TABLE) >= 100
    assert [name for name, count in Counter(program.name for program in TABLE).items() if count > 1] == []
    for program in TABLE:
        assert set(program.expect) == set(TIERS), program.name


@pytest.mark.parametrize("program", TABLE, ids=lambda program: program.name)
@pytest.mark.parametrize("tier", TIERS, ids=str)
def test_in_a_jail(batches: Batches, tier: Tier, program: Program) -> None:
    result = batches.of(tier).results[program.name]
    found = jails.complaints(program, tier, result, as_root=os.getuid() == 0)
    assert found == [], "\n".join([*found, str(result)])


@pytest.mark.parametrize("tier", TIERS, ids=str)
def test_the_neighbour_and_the_isolation_program_did_not_notice(batches: Batches, tier: Tier) -> None:
    batch = batches.of(tier)
    assert jails.neighbour_is_well(batch), batch.neighbour
    assert batch.survived


@pytest.mark.parametrize(
    "program",
    [program for program in TABLE if isinstance(program.bare, Shown)],
    ids=lambda program: program.name,
)
def test_without_a_jail(program: Program) -> None:
    how = program.bare
    assert isinstance(how, Shown)
    if how.root_only and os.getuid() != 0:
        pytest.skip("without a jail it works as root only; shown in the run as root")
    if not bare.namespaces_are_allowed():
        pytest.skip("the stand-in host needs namespaces; shown in the runs that have them")
    found = bare.run(program, how)
    if found.lacking:
        pytest.skip(f"this machine has no such thing: {', '.join(how.may_lack)}")
    assert found.shown, found.detail


def test_what_is_not_shown_says_why() -> None:
    for program in TABLE:
        if isinstance(program.bare, NotShown):
            assert len(program.bare.reason) > 10, program.name
