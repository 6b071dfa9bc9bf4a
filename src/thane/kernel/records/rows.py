"""Rows as bytes: the canonical row that digests cover, and back again for history.

Fields by name, NULLs left out, decimals as plain text at the column's scale, times in
microseconds, bytes as base64, JSON by RFC 8785 (floats as ECMAScript writes them), whole
numbers beyond ±(2^53 - 1) as text, sealed fields by their commitment. A step that only
adds a nullable field therefore changes no digest. What is digested is what an engine gives
back: no negative zero, no trailing zeros, no float that another float could be read for.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from thane.kernel import canonical
from thane.kernel.clock import from_us, to_us
from thane.kernel.money import CONTEXT, ZERO, plain
from thane.kernel.records.predicate import to_plain
from thane.kernel.records.schema import FieldSchema, Kind, Schema


def canonical_row(schema: Schema, record: Any, commitments: Mapping[str, bytes]) -> bytes:
    """The row's bytes. `commitments` gives the sealed fields'; secret fields are left out."""
    row: dict[str, Any] = {"version": record.version}
    read = schema.read
    assert read is not None
    for field, value in zip(schema.fields, read(record), strict=True):
        if value is None or field.secret:
            continue
        row[field.name] = commitments[field.name].hex() if field.sealed else canonical_value(field, value)
    return canonical.encode_json(row) if schema.has_json else canonical.encode(row)


def canonical_value(field: FieldSchema, value: Any) -> Any:
    """One value as it stands in canonical JSON."""
    kind = field.kind
    if kind is Kind.TIME:
        return to_us(value)
    if kind is Kind.DECIMAL:
        return plain(value or ZERO, field.scale)  # -0 is stored as 0
    if kind is Kind.BYTES:
        return base64.b64encode(value).decode()
    if kind is Kind.JSON:
        return to_plain(value)
    if kind is Kind.INTEGER and not -canonical.MAX_INT <= value <= canonical.MAX_INT:
        return str(value)
    return value.value if isinstance(value, Enum) else value


def decode_row(schema: Schema, row: Mapping[str, Any]) -> Any:
    """A record from a decoded canonical row.

    Sealed and secret fields, which it does not hold, become empty.
    """
    values: list[Any] = []
    for field in schema.fields:
        values.append(_decode(field, row.get(field.name)))
    assert schema.make is not None
    return schema.make(values, row["version"])


def _decode(field: FieldSchema, value: Any) -> Any:
    if field.sealed or field.secret:
        return None if field.nullable else _empty(field)
    if value is None:
        return None
    kind = field.kind
    if kind is Kind.TIME:
        return from_us(value)
    if kind is Kind.DECIMAL:
        return trimmed(Decimal(value))
    if kind is Kind.INTEGER:
        return int(value)
    if kind is Kind.BYTES:
        return base64.b64decode(value)
    if kind is Kind.JSON:
        return msgspec.convert(value, field.python_type, strict=False)
    return field.python_type(value) if field.choices else value


def trimmed(value: Decimal) -> Decimal:
    """The same number without trailing zeros and never in scientific form: 50, not 5E+1 and not 50.00."""
    value = value.normalize(CONTEXT)
    exponent = value.as_tuple().exponent
    return CONTEXT.quantize(value, Decimal(1)) if isinstance(exponent, int) and exponent > 0 else value


def _empty(field: FieldSchema) -> Any:
    return b"" if field.kind is Kind.BYTES else ""
