"""Slots: in the order of asking, by name, and with a bound on who may wait."""

from __future__ import annotations

import asyncio

import pytest

from thane.domains.sandboxes.service.slots import Slots
from thane.kernel.errors import Unavailable


async def test_places_are_given_in_the_order_of_asking() -> None:
    slots = Slots(1)
    assert slots.take_now("a")
    assert slots.take_now("a")
    assert not slots.take_now("b")
    waiting = [asyncio.create_task(slots.take(name)) for name in "bc"]
    await asyncio.sleep(0)
    slots.release("a")
    await waiting[0]
    assert not waiting[1].done()
    slots.release("b")
    await waiting[1]


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
    waiting = asyncio.create_task(slots.take("b"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not slots.take_now("e")
    slots.release("a")
    assert slots.take_now("f")


async def test_a_place_that_is_given_to_who_gives_up_is_given_on() -> None:
    slots = Slots(1)
    assert slots.take_now("a")
    waiting = asyncio.create_task(slots.take("b"))
    await asyncio.sleep(0)
    slots.release("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert slots.take_now("c")
