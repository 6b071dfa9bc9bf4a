"""May they: names and patterns, and a denial that is seen."""

from __future__ import annotations

import pytest

from tests.kernel.operations.house import TENANT, House
from tests.kernel.operations.notes import CreateNote, RenameNote
from thane.kernel.errors import Denied


async def test_what_a_principal_does_not_hold_is_denied_and_leaves_an_access_row(house: House) -> None:
    with pytest.raises(Denied) as denied:
        await house.ask("notes.create", {"title": "x"}, bearer="reader")
    assert denied.value.extra == {"needs": "notes.create"}
    assert await house.entries() == []
    (row,) = await house.access()
    assert (row.tenant_id, row.operation, row.status, row.code) == (TENANT, "notes.create", 403, "denied")


async def test_a_pattern_covers_an_entity(house: House) -> None:
    await house.ask("notes.list", bearer="reader")
    await house.ask("deeds.do", {"what": "dig"}, bearer="reader")
    assert house.world.acted


async def test_thane_itself_needs_no_permission_and_is_seen_as_itself(house: House) -> None:
    made = await house.pipeline.as_system("notes.create", TENANT, CreateNote(title="x"))
    assert made.resource is not None
    await house.pipeline.as_system("notes.rename", TENANT, RenameNote(note_id=made.resource, title="y"))
    assert [leaf["actor"] for leaf in await house.entries()] == [["system"], ["system"]]
