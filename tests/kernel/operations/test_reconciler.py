"""Crashes between two steps: a second server over the same folder ends what the first left open."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.operations.house import House
from tests.kernel.operations.notes import Broken, Deed, World
from thane.kernel.operations.entities import IdempotencyRow, KeyState, OpenIntent


async def crash(house: House, point: str) -> None:
    """Let a server die at a point of an effect: its tasks end, nothing more is written."""
    world = house.world
    do = house.operations.get("deeds.do").outside
    assert do is not None

    async def never(*_: Any) -> Any:
        # Whoever waits for a dead process waits for ever.
        await asyncio.Event().wait()

    dies: Any = never
    if point == "before act":
        do.act = dies  # type: ignore[method-assign]
    elif point == "in act":
        world.go.clear()
    else:
        do.settle = dies  # type: ignore[method-assign]
    asked = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1"))
    for _ in range(500):
        opened = await house.records.across(OpenIntent)
        reached = {
            "before act": bool(opened),
            "in act": bool(world.running),
            "before settle": bool(world.done),
        }
        if opened and reached[point]:
            break
        await asyncio.sleep(0.005)
    else:
        raise AssertionError(f"did not come to: {point}")
    for flow in tuple(house.pipeline.effects._flows):
        assert flow.task is not None
        flow.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flow.task
    with contextlib.suppress(asyncio.CancelledError):
        await asked
    if point == "in act":
        world.done.clear()
    await house.engine.close()


async def restarted(tmp_path: Path, world: World, **more: Any) -> House:
    world.go.set()
    return await House.build(tmp_path, world=world, server_id="srv_2", dead=frozenset({"srv_1"}), **more)


@pytest.mark.parametrize(
    ("point", "status"), [("before act", "failed"), ("in act", "failed"), ("before settle", "completed")]
)
async def test_after_a_crash_there_is_exactly_one_outcome(tmp_path: Path, point: str, status: str) -> None:
    first = await House.build(tmp_path)
    await crash(first, point)
    house = await restarted(tmp_path, first.world)
    acted = len(house.world.acted)
    ticks = [await house.reconciler.tick() for _ in range(2)]
    assert [t.settled for t in ticks] == [1, 0]
    assert len(house.world.acted) == acted, "nothing is done again"
    assert [d.status for d in await house.records.across(Deed)] == [status]
    intent, outcome = await house.entries()
    assert (intent["kind"], outcome["kind"], outcome["intent"]) == ("intent", "outcome", 0)
    assert outcome["outcome"] == status
    assert outcome["actor"] == ["usr_1", "key_1", "system"], "on behalf of whoever asked"
    assert await house.records.across(OpenIntent) == []
    (key,) = await house.records.across(IdempotencyRow)
    assert (key.state, key.entry_index, key.intent_index) == (KeyState.SETTLED, 1, 0)
    again = await house.ask_json("deeds.do", {"what": "dig"}, idempotency_key="k1")
    assert (again["status"], again["ledger"]["index"]) == (status, 1)
    await house.close()


async def test_a_live_servers_intent_is_left_alone_until_its_lease_ends(tmp_path: Path) -> None:
    first = await House.build(tmp_path)
    await crash(first, "before settle")
    house = await House.build(tmp_path, world=first.world, server_id="srv_2", clock=first.clock)
    assert (await house.reconciler.tick()).settled == 0
    house.clock.ahead_us += 61_000_000
    assert (await house.reconciler.tick()).settled == 1
    await house.close()


async def test_two_reconcilers_at_once_settle_once(tmp_path: Path) -> None:
    first = await House.build(tmp_path)
    await crash(first, "before settle")
    house = await restarted(tmp_path, first.world)
    other = await restarted(tmp_path, first.world)
    ticks = await asyncio.gather(*(h.reconciler.tick() for h in (house, other) for _ in range(3)))
    assert sum(t.settled for t in ticks) == 1
    assert [e["kind"] for e in await house.entries()] == ["intent", "outcome"]
    await house.close()
    await other.close()


async def test_the_one_that_acted_and_the_reconciler_race_for_one_outcome(tmp_path: Path) -> None:
    house = await House.build(tmp_path)
    house.world.go.clear()
    asked = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}))
    await house.world.begun.wait()
    house.clock.ahead_us += 61_000_000
    # As if it were another server's reconciler.
    house.pipeline.settler.held.clear()
    house.world.go.set()
    await asyncio.gather(asked, house.reconciler.tick(), house.reconciler.tick(), return_exceptions=True)
    while house.pipeline.effects.under_way:
        await asyncio.sleep(0.005)
    house.clock.ahead_us += 61_000_000
    await house.reconciler.tick()
    assert [e["kind"] for e in await house.entries()] == ["intent", "outcome"]
    await house.close()


async def test_what_this_process_works_on_is_not_taken_from_itself(tmp_path: Path) -> None:
    house = await House.build(tmp_path)
    house.world.go.clear()
    asked = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}))
    await house.world.begun.wait()
    house.clock.ahead_us += 61_000_000
    await house.reconciler.tick()
    house.world.go.set()
    assert (await asked).index == 1
    await house.close()


async def test_what_still_runs_is_asked_again_later(tmp_path: Path) -> None:
    first = await House.build(tmp_path)
    await crash(first, "in act")
    house = await restarted(tmp_path, first.world, clock=first.clock)
    (deed,) = await house.records.across(Deed)
    house.world.running.add(deed.id)
    tick = await house.reconciler.tick()
    assert (tick.running, tick.settled) == (1, 0)
    assert (await house.reconciler.tick()).running == 0, "the lease is ours now"
    house.world.running.clear()
    house.clock.ahead_us += 61_000_000
    assert (await house.reconciler.tick()).settled == 1
    await house.close()


async def test_an_intent_that_fails_stays_open_and_does_not_hold_up_others(tmp_path: Path) -> None:
    first = await House.build(tmp_path)
    await crash(first, "before settle")
    house = await restarted(tmp_path, first.world, clock=first.clock)
    for fault in (Broken("no"), RuntimeError("a defect")):
        house.world.settle_fails = fault
        assert (await house.reconciler.tick()).failed == 1
        house.clock.ahead_us += 61_000_000
    house.world.settle_fails = None
    assert (await house.reconciler.tick()).settled == 1
    await house.close()


async def test_an_intent_of_an_unknown_operation_waits_for_the_program_that_knows_it(tmp_path: Path) -> None:
    first = await House.build(tmp_path)
    await crash(first, "before settle")
    house = await restarted(tmp_path, first.world)
    house.operations._by_name.pop("deeds.do")
    assert (await house.reconciler.tick()).failed == 1
    await house.close()


async def test_a_spool_file_whose_intent_is_settled_is_removed(house: House) -> None:
    await house.ask("deeds.do", {"what": "dig"})
    folder = house.folder / "spool"
    folder.mkdir()
    (folder / "tnt_00000000000070008000000000000001-0.outcome").write_bytes(b"old")
    await house.reconciler.tick()
    assert list(folder.iterdir()) == []
