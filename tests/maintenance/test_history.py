"""What lies before the horizon is emptied; what is alive, and every proof, stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.maintenance.house import Home
from thane.domains.sandboxes.entities import Sandbox, SandboxStatus
from thane.domains.system import ApplyRetention
from thane.kernel.clock import from_us
from thane.kernel.context import SYSTEM_TENANT
from thane.kernel.errors import HistoryExpired, IllegalState
from thane.kernel.operations.entities import OpenIntent
from thane.kernel.records import Unit
from thane.kernel.records.horizon import RetentionHorizon, horizon_id, horizon_of
from thane.maintenance import history
from thane.maintenance.history import HistoryRetention


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with Home(tmp_path / "data") as home:
        yield home


async def rename(home: Home, box: Sandbox, name: str) -> int:
    async def write(unit: Unit) -> None:
        await unit.update(await unit.get(Sandbox, box.id), name=name)

    return await home.change(write)


async def name_at(home: Home, box: Sandbox, index: int) -> str:
    return (await home.records.as_of(home.context(), Sandbox, box.id, index)).name


async def horizon(home: Home) -> int:
    return await horizon_of(home.engine, home.records.registry, home.tenant_id)


async def bodies(home: Home) -> dict[tuple[int, str], bool]:
    """For each head but deletions, whether its body is there."""
    size = await home.engine.log_size(home.tenant_id)
    return {
        (row.index, head.id): bool(body)
        for row in await home.engine.entries(home.tenant_id, 0, size)
        for head, body in zip(row.heads, row.bodies, strict=True)
        if head.after is not None
    }


async def test_superseded_versions_before_the_horizon_are_emptied(home: Home) -> None:
    old, lasting, still = [await home.sandbox(name) for name in ("old", "lasting", "still")]
    first = await home.engine.log_size(home.tenant_id) - 1
    second = await rename(home, old, "old 2")
    home.clock.pass_(days=10)
    third = await rename(home, lasting, "lasting 2")
    await rename(home, old, "old 3")
    before = await home.verified()
    home.clock.pass_(days=6)
    await HistoryRetention(days=15).run(home.tools)
    assert await horizon(home) == third

    for box in (old, lasting, still):
        for index in (first, second):
            with pytest.raises(HistoryExpired, match=f"the retention horizon, entry {third}") as expired:
                await name_at(home, box, index)
            assert expired.value.status == 410
            assert expired.value.extra == {"horizon": third}
    assert await name_at(home, old, third) == "old 2", "superseded only after the horizon"
    assert await name_at(home, old, third + 1) == "old 3"
    assert await name_at(home, lasting, third) == "lasting 2"
    assert await name_at(home, still, third) == "still", "the only version of a living row"
    there = await bodies(home)
    assert not there[first - 2, old.id]
    assert there[second, old.id]
    assert there[first - 1, lasting.id], "what stood right before the horizon"

    after = await home.verified()
    assert before.blanked == 0
    rows = await home.engine.entries(home.tenant_id, 0, third)
    assert all(row.details is None for row in rows)
    of_system = await horizon_of(home.engine, home.records.registry, SYSTEM_TENANT)
    assert after.blanked == len(rows) + 1 + of_system, "details, and the one body"
    (kept,) = await home.engine.entries(home.tenant_id, third, 1)
    assert kept.details is not None


async def test_the_ledger_says_what_was_taken(home: Home) -> None:
    await home.sandbox("a")
    made = await home.engine.log_size(home.tenant_id)
    home.clock.pass_(days=2)
    await HistoryRetention(days=1).run(home.tools)
    assert (await home.operations())[made:] == ["retention.apply"]
    stated = await home.records.as_of(home.context(), RetentionHorizon, horizon_id(home.tenant_id), made)
    assert stated.horizon == made
    assert stated.made_before == from_us(home.clock.now_us() - 86_400_000_000)
    assert stated.applied_at == from_us(home.clock.now_us())


async def test_an_idle_tenant_gets_no_entry_a_day(home: Home) -> None:
    await home.sandbox("a")
    for _ in range(5):
        home.clock.pass_(days=3)
        await HistoryRetention(days=1).run(home.tools)
    assert (await home.operations()).count("retention.apply") == 1
    await home.verified()


async def test_nothing_is_taken_without_the_setting(home: Home) -> None:
    box = await home.sandbox("a")
    await rename(home, box, "b")
    home.clock.pass_(days=1000)
    assert await HistoryRetention(days=0).run(home.tools) == {}
    assert "retention.apply" not in await home.operations()
    assert all((await bodies(home)).values())


async def test_deleted_rows_lose_their_last_body(home: Home) -> None:
    box = await home.sandbox("a")

    async def delete(unit: Unit) -> None:
        await unit.delete(await unit.get(Sandbox, box.id))

    await home.change(delete)
    home.clock.pass_(days=2)
    await HistoryRetention(days=1).run(home.tools)
    assert [there for (_, id), there in (await bodies(home)).items() if id == box.id] == [False]
    await home.verified()


async def test_it_goes_on_where_a_crash_has_cut_it_off(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    box = await home.sandbox("a")
    for n in range(9):
        await rename(home, box, f"a{n}")
    home.clock.pass_(days=2)
    monkeypatch.setattr(history, "PAGE", 2)
    blank, done = home.engine.blank, list[int]()

    async def dies(tenant_id: str, index: int, places: Sequence[int], details: bool) -> None:
        if tenant_id == home.tenant_id and len(done) == 11:
            raise OSError("the machine is off")
        await blank(tenant_id, index, places, details)
        done.extend([index] if tenant_id == home.tenant_id else [])

    monkeypatch.setattr(home.engine, "blank", dies)
    with pytest.raises(OSError, match="off"):
        await HistoryRetention(days=1).run(home.tools)
    reached = await horizon(home)
    await home.verified()
    with pytest.raises(HistoryExpired):  # as announced, though its body is still there
        await name_at(home, box, reached - 2)

    monkeypatch.setattr(home.engine, "blank", blank)
    gone = await HistoryRetention(days=1).run(home.tools)
    assert 0 < gone[home.tenant_id] < reached, "it does not begin anew"
    assert (await home.operations()).count("retention.apply") == 1
    assert [there for (_, id), there in (await bodies(home)).items() if id == box.id] == [False] * 9 + [True]
    rows = await home.engine.entries(home.tenant_id, 0, reached)
    assert all(row.details is None for row in rows)
    await home.verified()
    assert await HistoryRetention(days=1).run(home.tools) == {}


async def test_what_an_open_effect_needs_is_kept(home: Home) -> None:
    await home.sandbox("a")
    open_at = await home.engine.log_size(home.tenant_id) - 1
    await home.sandbox("b")
    await home.housekeep(
        OpenIntent(
            id=home.system.ids.new("int"),
            tenant_id=home.tenant_id,
            intent_index=open_at,
            operation="sandboxes.execute",
            server_id=home.system.server_id,
            lease_until_us=0,
            idempotency_id=None,
            user_id=None,
        )
    )
    home.clock.pass_(days=30)
    await HistoryRetention(days=1).run(home.tools)
    assert await horizon(home) == open_at
    (intent,) = await home.engine.entries(home.tenant_id, open_at, 1)
    assert intent.details is not None


async def test_a_replay_of_what_was_emptied_is_gone(tmp_path: Path) -> None:
    async with Home(tmp_path / "data", retention__idempotency_hours=24 * 30) as home:
        first = await home.api("POST", "/sandboxes", {"name": "a"}, idempotency_key="k")
        assert first.status == 201
        home.clock.pass_(days=2)
        await HistoryRetention(days=1).run(home.tools)
        again = await home.api("POST", "/sandboxes", {"name": "a"}, idempotency_key="k")
        assert again.status == 410, again.body
        assert again.body["code"] == "gone"
        assert await home.count(Sandbox) == 1


async def test_the_horizon_never_goes_back(home: Home) -> None:
    async def apply(index: int) -> Any:
        request = ApplyRetention(horizon=index, made_before=from_us(home.clock.now_us()))
        return await home.tools.invoke("retention.apply", home.tenant_id, request)

    await apply(3)
    assert msgspec.json.decode((await apply(4)).body)["horizon"] == 4
    with pytest.raises(IllegalState, match="never goes back to 2"):
        await apply(2)


async def test_living_rows_are_as_before(home: Home) -> None:
    box = await home.sandbox("a")
    answer = await home.api("POST", f"/sandboxes/{box.id}/terminate")
    home.clock.pass_(days=9)
    await HistoryRetention(days=1).run(home.tools)
    found = await home.api("GET", f"/sandboxes/{box.id}")
    assert found.body["status"] == SandboxStatus.TERMINATED == answer.body["status"]
    await rename(home, box, "b")
    await home.verified()
