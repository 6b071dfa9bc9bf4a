"""Decimals with an explicit context; nothing that is counted is a float.

Python's default context rounds to 28 digits, also in `normalize()`; Decimal(36, 18)
needs more, so every calculation here uses `CONTEXT`.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation

CONTEXT = Context(prec=78, rounding=ROUND_HALF_EVEN)
_EXACT = Context(prec=78, traps=[Inexact, InvalidOperation])
ZERO = Decimal(0)


def fits(value: Decimal, precision: int, scale: int) -> bool:
    """Whether `value` can be kept in Decimal(precision, scale) without losing a digit."""
    if not value.is_finite():
        return False
    try:
        _EXACT.quantize(value, Decimal(1).scaleb(-scale))
    except (Inexact, InvalidOperation):
        return False
    # `abs` would round to the default context first.
    return value.copy_abs() < Decimal(10) ** (precision - scale)


def plain(value: Decimal, scale: int) -> str:
    """Plain decimal text at the column's scale, never in scientific form: `1.50`."""
    return f"{CONTEXT.quantize(value, Decimal(1).scaleb(-scale)):f}"


def add(a: Decimal, b: Decimal) -> Decimal:
    return CONTEXT.add(a, b)


def multiply(a: Decimal, b: Decimal, scale: int) -> Decimal:
    """a × b, rounded half-even to `scale` digits after the point."""
    return CONTEXT.quantize(CONTEXT.multiply(a, b), Decimal(1).scaleb(-scale))


def divide(a: Decimal, b: Decimal, scale: int) -> Decimal:
    """a ÷ b, rounded half-even to `scale` digits after the point."""
    return CONTEXT.quantize(CONTEXT.divide(a, b), Decimal(1).scaleb(-scale))
