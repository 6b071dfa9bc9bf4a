"""Who gets a place: fair between tenants and projects, within their limits, a context in order."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from thane.domains.sandboxes.service.slots import Share, Slots
from thane.kernel.errors import Unavailable

pytestmark = pytest.mark.anyio

A, B = Share("a", "p"), Share("b", "p")


def _names() -> list[str]:
    return []


async def waiting(slots: Slots, name: str, share: Share, order: list[str]) -> asyncio.Task[None]:
    async def take() -> None:
        await slots.take(name, share)
        order.append(name)

    task = asyncio.create_task(take())
    await asyncio.sleep(0)
    return task


async def test_a_greedy_tenant_delays_another_by_one_execution_at_most() -> None:
    slots, order = Slots(2), _names()
    tasks = [await waiting(slots, f"a{n}", A, order) for n in range(50)]
    tasks.append(await waiting(slots, "b0", B, order))
    slots.release("a0")
    await asyncio.sleep(0)
    assert order == ["a0", "a1", "b0"]
    for task in tasks:
        task.cancel()


async def test_projects_of_a_tenant_are_served_in_turn() -> None:
    slots, order = Slots(1), _names()
    shares = [Share("a", "big")] * 6 + [Share("a", "small")] * 2
    for n, share in enumerate(shares):
        _ = await waiting(slots, f"{share.project}{n}", share, order)
    for _ in shares:
        slots.release(order[-1])
        await asyncio.sleep(0)
    assert order[:4] == ["big0", "small6", "big1", "small7"]
    assert len(order) == len(shares)


async def test_limits_of_tenants_and_projects_hold_and_leave_room_to_others() -> None:
    slots, order = Slots(4, per_tenant=2, per_project=1), _names()
    for n in range(3):
        _ = await waiting(slots, f"p{n}", Share("a", "p"), order)
        _ = await waiting(slots, f"q{n}", Share("a", "q"), order)
    _ = await waiting(slots, "r", Share("a", "r"), order)
    assert order == ["p0", "q0"]
    assert not slots.take_now("p9", Share("a", "p"))
    assert slots.take_now("b", B)
    slots.release("p0")
    await asyncio.sleep(0)
    assert order == ["p0", "q0", "r"], "another project's turn, as nobody of it was served yet"
    slots.release("r")
    await asyncio.sleep(0)
    assert order == ["p0", "q0", "r", "p1"]


async def test_what_waits_for_its_context_holds_no_place() -> None:
    slots, order = Slots(2), _names()
    cell = Share("a", "p", "sbx/ctx")
    for n in range(3):
        _ = await waiting(slots, f"cell{n}", cell, order)
    _ = await waiting(slots, "other", A, order)
    assert order == ["cell0", "other"]
    slots.release("cell0")
    await asyncio.sleep(0)
    assert order == ["cell0", "other", "cell1"]


async def test_a_place_is_held_by_name_and_given_back_once() -> None:
    slots = Slots(1)
    assert slots.take_now("x", A)
    assert slots.take_now("x", A)
    assert not slots.take_now("y", A)
    slots.release("x")
    slots.release("x")
    assert slots.take_now("y", B)
    assert not slots.take_now("z", A)


async def test_who_is_cancelled_while_he_waits_takes_nothing() -> None:
    slots, order = Slots(1), _names()
    _ = await waiting(slots, "first", A, order)
    gone = await waiting(slots, "gone", A, order)
    late = await waiting(slots, "late", A, order)
    gone.cancel()
    await asyncio.sleep(0)
    slots.release("first")
    await late
    slots.release("late")
    # Given and cancelled in one turn: it goes on to the next.
    _ = await waiting(slots, "holder", A, order)
    both = [await waiting(slots, f"w{n}", A, order) for n in range(2)]
    slots.release("holder")
    both[0].cancel()
    await both[1]
    assert order[-1] == "w1"


async def test_nothing_is_lost_in_any_order() -> None:
    slots, order = Slots(3, per_tenant=2), _names()
    shares = [Share(f"t{n % 3}", f"p{n % 2}", f"c{n % 4}" if n % 5 else "") for n in range(60)]
    tasks = [await waiting(slots, f"{n}", share, order) for n, share in enumerate(shares)]
    while slots._held:
        assert len(slots._held) <= 3
        assert max(Counter(share.tenant for share in slots._held.values()).values()) <= 2
        turns = Counter(share.turn for share in slots._held.values() if share.turn)
        assert max(turns.values(), default=0) <= 1
        slots.release(next(iter(slots._held)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert sorted(order, key=int) == [str(n) for n in range(60)]


async def test_only_so_many_may_wait_and_who_gives_up_makes_room() -> None:
    slots = Slots(1, 2)
    assert slots.take_now("a")
    assert not slots.take_now("b")
    assert not slots.take_now("c")
    assert not slots.take_now("c"), "who was told to wait may ask again"
    with pytest.raises(Unavailable) as refused:
        slots.take_now("d")
    assert refused.value.retry_after
    slots.release("c")  # its unit was not committed
    assert not slots.take_now("d")
    taking = asyncio.create_task(slots.take("b"))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert not slots.take_now("e")
    slots.release("a")
    assert slots.take_now("f")
