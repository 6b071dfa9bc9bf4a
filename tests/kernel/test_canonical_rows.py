"""A row's canonical bytes are RFC 8785's, for every kind of field and every declared entity."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest

from thane.bootstrap.schemas import registry
from thane.kernel import canonical
from thane.kernel.clock import from_us, to_us
from thane.kernel.records.filter import REMEMBERED, parse_filter
from thane.kernel.records.rows import canonical_row
from thane.kernel.records.schema import FieldSchema, Kind, Schema

WHEN = datetime(2026, 3, 1, 12, 30, 0, 123_456, tzinfo=UTC)
VALUES: dict[Kind, Any] = {
    Kind.TEXT: 'é "\\\n\u2028 \U0001f600 </',
    Kind.INTEGER: 2**60,
    Kind.BOOLEAN: True,
    Kind.DECIMAL: Decimal("-1.5"),
    Kind.TIME: WHEN,
    Kind.BYTES: b"\x00\xff",
}
# As protocols.md has them: whole numbers past 2^53 as text, times in microseconds, bytes as base64.
WRITTEN: dict[Kind, Any] = {
    Kind.INTEGER: str(2**60),
    Kind.TIME: to_us(WHEN),
    Kind.BYTES: "AP8=",
}


def value_of(field: FieldSchema) -> Any:
    if field.choices and issubclass(field.python_type, Enum):
        return next(iter(field.python_type))
    if field.kind is Kind.JSON:
        plain: dict[str, Any] = {"z": 1.5, "a": [True, None, "ü"]}
        return plain
    return VALUES[field.kind]


def written(field: FieldSchema) -> Any:
    value = value_of(field)
    if field.sealed:
        return b"commitment".hex()
    if field.kind is Kind.DECIMAL:
        return f"{value:.{field.scale}f}"
    return value.value if isinstance(value, Enum) else WRITTEN.get(field.kind, value)


class Row(msgspec.Struct):
    values: tuple[Any, ...]
    version: int = 7


@pytest.mark.parametrize("schema", registry().all(), ids=lambda schema: schema.table)
def test_a_rows_bytes_are_canonical(schema: Schema) -> None:
    loose = msgspec.structs.replace(schema, read=lambda row: row.values)
    values = tuple(b"sealed" if f.sealed else value_of(f) for f in schema.fields)
    made = canonical_row(loose, Row(values), {f.name: b"commitment" for f in schema.sealed_fields})
    expected = {f.name: written(f) for f in schema.fields if not f.secret} | {"version": 7}
    assert made == canonical.encode_json(expected)
    assert json.loads(made)["version"] == 7
    empty = canonical_row(loose, Row((None,) * len(schema.fields)), {})
    assert empty == b'{"version":7}'


def test_times_are_exact_from_the_first_year_to_the_last() -> None:
    for value in (0, -1, 1, 999_999, -62_135_596_800_000_000, 253_402_300_799_999_999, to_us(WHEN)):
        assert to_us(from_us(value)) == value


def test_filters_are_remembered_within_bounds() -> None:
    schema = registry().get("runs")
    first = parse_filter(schema, 'status = "open"')
    assert parse_filter(schema, 'status = "open"') is first
    for n in range(REMEMBERED + 1):
        parse_filter(schema, f'purpose = "{n}"')
    assert len(schema.__dict__["_filters"]) <= REMEMBERED
    assert parse_filter(schema, 'status = "open"') == first
