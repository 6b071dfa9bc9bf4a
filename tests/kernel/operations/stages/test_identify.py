"""Who asks: bearer tokens, anonymous operations, what a host knows already."""

from __future__ import annotations

import pytest

from tests.kernel.operations.house import OWNER, TENANT, House
from thane.kernel.context import SYSTEM_TENANT
from thane.kernel.errors import Invalid, Unauthorized
from thane.kernel.ports.identity import Identified


async def test_a_known_key_becomes_the_context_of_the_entry(house: House) -> None:
    run = house.records.ids.new("run")
    project = house.records.ids.new("prj")
    await house.ask("notes.ping", run_id=run, project_id=project)
    (leaf,) = await house.entries()
    assert (leaf["actor"], leaf["run"], leaf["project"]) == (["usr_1", "key_1"], run, project)


@pytest.mark.parametrize("bearer", [None, "nobody"])
async def test_without_a_valid_key_nothing_is_done(house: House, bearer: str | None) -> None:
    with pytest.raises(Unauthorized):
        await house.ask("notes.ping", bearer=bearer)
    assert await house.entries() == []
    (row,) = await house.access()
    assert (row.tenant_id, row.principal_id, row.status) == (SYSTEM_TENANT, "unknown", 401)


async def test_an_anonymous_operation_says_whose_tenant_it_concerns(house: House) -> None:
    assert await house.ask_json("setup.open", bearer=None) == {"told": TENANT}
    assert [leaf["operation"] for leaf in await house.entries()] == ["setup.open"]


async def test_a_host_may_know_who_asks(house: House) -> None:
    await house.ask("notes.ping", bearer=None, identified=Identified(principal=OWNER, project_id="prj_1"))
    assert (await house.entries())[0]["project"] == "prj_1"


@pytest.mark.parametrize("headers", [{"run_id": "run_1"}, {"project_id": "x"}])
async def test_headers_that_are_no_ids_are_refused(house: House, headers: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        await house.ask("notes.ping", **headers)
