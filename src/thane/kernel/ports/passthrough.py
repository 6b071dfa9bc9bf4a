"""What stands behind a port until its domain is built: it lets everything through and says so by its name."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from thane.kernel.context import Principal
from thane.kernel.ports.budgets import Charge, Reservation, charge_of
from thane.kernel.records.unit import Unit


class NoLimits:
    """Nobody is limited."""

    async def take_address(self, ip: str | None, operation: str) -> None:
        return

    async def take_principal(self, principal: Principal, operation: str) -> None:
        return


class NoRules:
    """What is authorised is allowed."""

    async def judge(self, unit: Unit, operation: str, request: Any) -> None:
        return


class NoBudgets:
    """Prices and allows: every reservation is granted and bounds the charge."""

    async def reserve(self, unit: Unit, amount: Decimal, purpose: str) -> Reservation:
        return Reservation(amount=amount)

    async def settle(self, unit: Unit, reservation: Reservation, actual: Decimal) -> Charge:
        return charge_of(reservation, actual)


class NoObserver:
    """Nothing is metered."""

    def answered(self, operation: str, status: int, code: str | None, seconds: float) -> None:
        return

    def access_rows_dropped(self, count: int) -> None:
        return
