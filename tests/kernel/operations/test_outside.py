"""Effects outside: intent, act, settle; hang-ups, replays, spool, and what a broken act leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.kernel.operations.house import TENANT, House
from tests.kernel.operations.notes import Broken, Deed, DeedLine, DeedOutcome, DeedView, Do
from thane.kernel.context import system_context
from thane.kernel.errors import (
    IdempotencyReused,
    InProgress,
    NotFound,
    OutcomeUnrecorded,
    PreconditionFailed,
    Unavailable,
)
from thane.kernel.operations import outside
from thane.kernel.operations.call import Reply
from thane.kernel.operations.details import read_details
from thane.kernel.operations.entities import IdempotencyRow, KeyState, OpenIntent
from thane.kernel.operations.settle import Superseded
from thane.kernel.operations.spool import SpoolRefused
from thane.kernel.operations.stages.idempotency import LIFETIME_US
from thane.kernel.records.engine import WriteSet


async def until(true: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait for a condition, bounded."""
    for _ in range(int(seconds / 0.005)):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def idle(house: House) -> None:
    await until(lambda: house.pipeline.effects.under_way == 0)


async def deeds(house: House) -> list[str]:
    return [d.status for d in await house.records.across(Deed)]


async def kinds(house: House) -> list[tuple[str, str | None]]:
    return [(e["kind"], e["outcome"]) for e in await house.entries()]


async def test_an_effect_is_an_intent_and_an_outcome(house: House) -> None:
    writes: list[WriteSet] = []
    commit = house.engine.commit

    async def spy(write_set: WriteSet) -> Any:
        writes.append(write_set)
        return await commit(write_set)

    house.engine.commit = spy  # type: ignore[method-assign]
    body = await house.ask_json("deeds.do", {"what": "dig", "env": {"TOKEN": "s3cret"}})
    assert body["status"] == body["outcome"] == "completed"
    assert body["ledger"]["index"] == 1
    assert body["ledger"]["intent_index"] == 0
    intent, outcome = await house.entries()
    assert (intent["kind"], intent["outcome"], intent["resource"]) == ("intent", None, body["id"])
    assert (outcome["kind"], outcome["outcome"], outcome["intent"]) == ("outcome", "completed", 0)
    assert [w.durable for w in writes if w.draft is not None] == [True, False], "only the intent is fsynced"
    assert house.world.envs == [{"TOKEN": "s3cret"}]
    _, details, _ = await read_details(house.records, TENANT, 0)
    assert b"s3cret" not in msgspec.json.encode(details)
    assert await house.records.across(OpenIntent) == []


async def test_progress_is_heard_and_kept(house: House) -> None:
    heard: list[str] = []
    await house.ask("deeds.do", {"what": "dig"}, listener=lambda event: heard.append(event.text))
    assert heard == ["begun", "ended"]
    assert [line.text for line in await house.records.across(DeedLine)] == ["begun", "ended"]


async def test_what_prepare_refuses_has_no_trace_but_an_access_row(house: House) -> None:
    with pytest.raises(NotFound):
        await house.ask("deeds.do", {"what": "forbidden"}, idempotency_key="k1")
    assert await house.entries() == []
    assert await house.records.across(IdempotencyRow) == []
    assert [r.status for r in await house.access()] == [404]


async def test_a_repeat_while_it_runs_is_told_where_to_look(house: House) -> None:
    house.world.go.clear()
    first = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1"))
    await house.world.begun.wait()
    with pytest.raises(InProgress) as refused:
        await house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1")
    assert refused.value.retry_after
    assert str(refused.value.extra["location"]).startswith("/deeds/ded_")
    assert refused.value.extra["intent_index"] == 0
    with pytest.raises(IdempotencyReused):
        await house.ask("deeds.do", {"what": "fill"}, idempotency_key="k1")
    house.world.go.set()
    done = await first
    again = await house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1")
    assert again.replayed
    assert again.body == done.body
    assert len(house.world.acted) == 1


async def test_a_race_for_one_key_acts_once(house: House) -> None:
    asked = [house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1") for _ in range(10)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert len(house.world.acted) == 1
    assert all(isinstance(r, (Reply, InProgress)) for r in results)


async def test_a_stream_attaches_to_what_runs(house: House) -> None:
    house.world.go.clear()
    first = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1"))
    await house.world.begun.wait()
    heard: list[str] = []
    second = asyncio.create_task(
        house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1", listener=lambda e: heard.append(e.text))
    )
    await until(lambda: heard)
    house.world.go.set()
    assert (await first).body == (await second).body
    assert heard == ["begun", "ended"], "what came before is shown too"


async def test_a_hang_up_without_a_key_cancels_and_settles(house: House) -> None:
    house.world.go.clear()
    asked = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}))
    await house.world.begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await idle(house)
    assert await deeds(house) == ["cancelled"]
    assert await kinds(house) == [("intent", None), ("outcome", "cancelled")]


async def test_a_hang_up_with_a_key_lets_it_go_on(house: House) -> None:
    house.world.go.clear()
    asked = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1"))
    await house.world.begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    house.world.go.set()
    await idle(house)
    assert await deeds(house) == ["completed"]
    assert (await house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1")).replayed


async def test_an_act_that_breaks_off_is_asked_after(house: House) -> None:
    house.world.fail = RuntimeError("the line went dead")
    body = await house.ask_json("deeds.do", {"what": "dig"})
    assert (body["status"], body["text"]) == ("failed", "host_lost")
    assert await kinds(house) == [("intent", None), ("outcome", "failed")]


async def test_what_nobody_knows_is_left_to_the_reconciler(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "ASK_SECONDS", (0.0, 0.0))
    house.world.fail = Broken("gone")

    async def mute(intent: Any) -> Any:
        raise Broken("still gone")

    do = house.operations.get("deeds.do").outside
    assert do is not None
    monkeypatch.setattr(do, "recover", mute)
    with pytest.raises(Unavailable) as refused:
        await house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1")
    assert refused.value.extra["intent_index"] == 0
    assert len(await house.records.across(OpenIntent)) == 1
    (key,) = await house.records.across(IdempotencyRow)
    assert (key.state, key.intent_index) == (KeyState.OPEN, 0)


async def test_the_lease_is_renewed_while_it_acts(tmp_path: Path) -> None:
    house = await House.build(tmp_path, lease_us=60_000)
    house.world.go.clear()
    asked = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}))
    await house.world.begun.wait()
    (before,) = await house.records.across(OpenIntent)
    renewed = False
    for _ in range(200):
        (now,) = await house.records.across(OpenIntent)
        renewed = now.lease_until_us > before.lease_until_us
        if renewed:
            break
        await asyncio.sleep(0.01)
    assert renewed, "the lease is renewed"
    house.world.go.set()
    await asked
    await house.close()


async def test_who_lost_the_fence_does_not_settle(house: House) -> None:
    house.world.go.clear()
    asked = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}))
    await house.world.begun.wait()

    async def steal(unit: Any) -> None:
        (row,) = await unit.list(OpenIntent)
        await unit.update(await unit.get(OpenIntent, row.id), fence=2)

    await house.records.housekeep(system_context(TENANT, "req_0", 0), steal)
    house.world.go.set()
    with pytest.raises(Superseded):
        await asked
    assert await kinds(house) == [("intent", None)]


# -- when settle cannot commit --------------------------------------------------------------


async def test_an_outcome_the_store_cannot_take_is_spooled_and_settled_later(house: House) -> None:
    commit = house.engine.commit

    async def full(write_set: WriteSet) -> Any:
        if write_set.draft is not None and write_set.draft.kind == "outcome":
            raise Broken("the disk is full")
        return await commit(write_set)

    house.engine.commit = full  # type: ignore[method-assign]
    reply = await house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1")
    body = msgspec.json.decode(reply.body)
    assert (body["ledger"], body["outcome"], body["status"]) == (None, "spooled", "completed")
    assert (reply.index, reply.intent_index) == (None, 0)
    (file,) = (house.folder / "spool").iterdir()
    assert b"DIG" not in file.read_bytes(), "it is sealed"
    tick = await house.reconciler.tick()
    assert (tick.settled, tick.failed) == (0, 1)
    house.engine.commit = commit  # type: ignore[method-assign]
    asked_before = house.world.asked
    tick = await house.reconciler.tick()
    assert (tick.settled, tick.failed) == (1, 0)
    assert house.world.asked == asked_before, "the spool is asked before `recover`"
    assert list((house.folder / "spool").iterdir()) == []
    assert await deeds(house) == ["completed"]
    again = msgspec.json.decode((await house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1")).body)
    assert (again["outcome"], again["ledger"]["index"]) == ("completed", 1)


async def test_an_outcome_without_an_answer_is_spooled_as_it_is(house: House) -> None:
    house.world.settle_fails = Broken("no reading either")
    body = await house.ask_json("deeds.do", {"what": "dig"})
    assert body == {"status": "completed", "text": "DIG", "ledger": None, "outcome": "spooled"}


async def test_if_the_spool_fails_too_it_is_told(house: House) -> None:
    house.world.settle_fails = Broken("no")
    (house.folder / "spool").write_text("a file where the folder should be")
    with pytest.raises(OutcomeUnrecorded) as told:
        await house.ask("deeds.do", {"what": "dig"})
    assert told.value.extra["intent_index"] == 0
    assert told.value.extra["result"] == {
        "status": "completed",
        "text": "DIG",
        "ledger": None,
        "outcome": "spooled",
    }


async def test_what_neither_store_nor_spool_took_is_settled_as_soon_as_the_store_takes_it(
    house: House,
) -> None:
    house.world.settle_fails = Broken("no")

    async def refuse(*args: Any) -> None:
        raise SpoolRefused("no room")

    house.pipeline.settler.spool.put = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(OutcomeUnrecorded):
        await house.ask("deeds.do", {"what": "dig"})
    assert (await house.reconciler.tick()).failed == 1
    house.world.settle_fails = None
    asked_before = house.world.asked
    tick = await house.reconciler.tick()  # its lease has not run out
    assert (tick.settled, tick.failed) == (1, 0)
    assert house.world.asked == asked_before, "the outcome is known and is not asked for"
    assert await deeds(house) == ["completed"]
    assert house.pipeline.settler.unrecorded == {}


async def test_what_another_has_settled_is_not_kept_in_memory(house: House) -> None:
    house.pipeline.settler.unrecorded["int_gone"] = b"{}"
    await house.reconciler.tick()
    assert house.pipeline.settler.unrecorded == {}


async def test_a_key_that_ran_out_meanwhile_stays_with_the_newer_request(house: House) -> None:
    house.world.go.clear()
    first = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1"))
    await house.world.begun.wait()
    house.clock.ahead_us += LIFETIME_US + 1_000_000
    second = asyncio.create_task(house.ask("deeds.do", {"what": "fill"}, idempotency_key="k1"))
    await until(lambda: len(house.world.acted) == 2)
    house.world.go.set()
    await first
    newer = await second
    again = await house.ask("deeds.do", {"what": "fill"}, idempotency_key="k1")
    assert again.body == newer.body


async def test_if_match_has_no_meaning_for_what_is_made_anew(house: House) -> None:
    with pytest.raises(PreconditionFailed):
        await house.ask("deeds.do", {"what": "dig"}, if_match=1)
    assert house.world.acted == []


async def test_a_drain_ends_what_is_under_way(house: House) -> None:
    house.world.go.clear()
    asked = asyncio.create_task(house.ask("deeds.do", {"what": "dig"}, idempotency_key="k1"))
    await house.world.begun.wait()
    await house.pipeline.close(0.05)
    assert (await asked).status == 201
    assert await deeds(house) == ["cancelled"]


def test_an_outcome_word_and_a_key_have_defaults() -> None:
    do = Do(None)
    assert do.word(DeedOutcome(status="", text="")) == "done"
    assert do.key(DeedView(id="ded_1", status="", text="", version=1)) == "ded_1"  # type: ignore[arg-type]
