"""Sums and averages that are exact: SQLite's own are floats, or stop at 64 bits.

Stored decimals and whole numbers are added as Python integers of their smallest unit. The
results travel as text, because a sum may be wider than its terms.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from thane.adapters.sqlite.codecs import decoder, from_scaled, scaled_of
from thane.kernel.records.engine import Measure
from thane.kernel.records.schema import FieldSchema, Kind, Schema

# Digits after the point of an average of whole numbers.
AVERAGE_DIGITS = 18
_LOW = (1 << 32) - 1


class ExactSum:
    """`exact_sum(value, precision)`: of stored decimals, or of whole numbers with precision 0."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0

    def step(self, *args: Any) -> None:
        value, precision = args
        if value is not None:
            self.total += scaled_of(value, precision) if precision else value
            self.count += 1

    def final(self) -> str | None:
        return str(self.total) if self.count else None


class ExactAverage(ExactSum):
    """`exact_avg(value, precision)`: the sum divided, as a fraction `total/count`."""

    def final(self) -> str | None:
        return str(Fraction(self.total, self.count)) if self.count else None


def measure_sql(measure: Measure, field: FieldSchema | None) -> str:
    """The figure as a column of a SELECT."""
    if field is None:
        return "count(*)"
    if measure.function not in ("sum", "avg"):
        return f'{measure.function}("{field.name}")'
    if measure.function == "sum" and field.kind is not Kind.DECIMAL:
        # SQLite's own sum of each half cannot overflow, and takes a tenth of the time of ours.
        name = f'"{field.name}"'
        return f"sum({name} >> 32) || ' ' || sum({name} & {_LOW})"
    return f'exact_{measure.function}("{field.name}", {field.precision if field.kind is Kind.DECIMAL else 0})'


def _joined(text: str) -> int:
    high, low = map(int, text.split(" "))
    return (high << 32) + low


def measure_decoder(measure: Measure, schema: Schema) -> Callable[[Any], Any] | None:
    """What turns SQLite's answer into the figure; None where it is the same."""
    field = None if measure.field is None else schema.by_name.get(measure.field)
    if measure.function == "sum":
        if field is None or field.kind is not Kind.DECIMAL:
            return _joined
        scale = field.scale
        return lambda text: from_scaled(int(text), scale)
    if measure.function == "avg":
        decimals = field.scale if field is not None and field.kind is Kind.DECIMAL else 0
        digits = AVERAGE_DIGITS if field is None or field.kind is not Kind.DECIMAL else decimals
        # `round` of a fraction is half-even.
        return lambda text: from_scaled(round(Fraction(text) * 10 ** (digits - decimals)), digits)
    return None if field is None or measure.function == "count" else decoder(field)
