"""Port: money is reserved before an effect and settled after it, in the effect's own units.

A cap that is checked and then spent leaks (two replicas, one restart); a reservation in the
intent's unit and a settlement in the outcome's do not. Charge = min(actual, reserved); what
is above was used and is recorded as unbilled.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec

from thane.kernel.money import ZERO
from thane.kernel.records.unit import Unit


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """Stands in the intent. `id` is empty where no budget applies; `amount` is in USD."""

    amount: Decimal
    id: str = ""


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What is billed, and what was used beyond the reservation."""

    billed: Decimal
    unbilled: Decimal = ZERO


class Budgets(Protocol):
    async def reserve(self, unit: Unit, amount: Decimal, purpose: str) -> Reservation:
        """In `prepare`: set aside, or raise billing's budget_exhausted. `purpose` names the operation."""

    async def settle(self, unit: Unit, reservation: Reservation, actual: Decimal) -> Charge:
        """In `settle`: turn the reservation into a charge and free the rest."""


def charge_of(reservation: Reservation, actual: Decimal) -> Charge:
    """min(actual, reserved) billed, the rest unbilled."""
    billed = min(actual, reservation.amount)
    return Charge(billed=billed, unbilled=actual - billed)
