"""What stands behind ports that are not built yet lets through, and prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.kernel.operations.house import House
from thane.kernel.ports.budgets import Reservation
from thane.kernel.ports.passthrough import NoBudgets, NoObserver


async def test_a_charge_is_at_most_what_was_reserved(house: House) -> None:
    budgets = NoBudgets()
    unit: Any = None
    reservation = await budgets.reserve(unit, Decimal("1.50"), "deeds.do")
    assert reservation == Reservation(amount=Decimal("1.50"))
    within = await budgets.settle(unit, reservation, Decimal("0.20"))
    assert (within.billed, within.unbilled) == (Decimal("0.20"), Decimal(0))
    beyond = await budgets.settle(unit, reservation, Decimal("2.00"))
    assert (beyond.billed, beyond.unbilled) == (Decimal("1.50"), Decimal("0.50"))


def test_nobody_is_told() -> None:
    nobody = NoObserver()
    nobody.answered("a.b", 200, None, 0.1)
    nobody.access_rows_dropped(1)
    assert not vars(nobody), "it keeps nothing of what it was told"
