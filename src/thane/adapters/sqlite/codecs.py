"""Python values to SQLite's and back, per kind of field.

SQLite has no decimal, time, boolean or JSON type of its own: decimals are fixed-width
text whose order is their value's, times integer microseconds, booleans 0 and 1, JSON
canonical-looking text. NULL is NULL everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from thane.kernel.answers import encode
from thane.kernel.clock import from_us, to_us
from thane.kernel.errors import Invalid
from thane.kernel.money import CONTEXT, ZERO, fits, plain
from thane.kernel.records.rows import trimmed
from thane.kernel.records.schema import FieldSchema, Kind

Codec = Callable[[Any], Any]

SQL_TYPES = {
    Kind.TEXT: "TEXT",
    Kind.INTEGER: "INTEGER",
    Kind.BOOLEAN: "INTEGER",
    Kind.DECIMAL: "TEXT",
    Kind.TIME: "INTEGER",
    Kind.JSON: "TEXT",
    Kind.BYTES: "BLOB",
}


def encode_decimal(value: Decimal, precision: int = 36, scale: int = 18) -> str:
    """`1` and the scaled digits for values from zero up; `0` and their complement below.

    So the order of the texts is that of the values. Invalid for what would be cut.
    """
    if not fits(value, precision, scale):
        raise Invalid(f"{value} does not fit into {precision} digits with {scale} after the point")
    scaled = int(CONTEXT.scaleb(value, scale))
    if scaled >= 0:
        return f"1{scaled:0{precision}d}"
    return f"0{10**precision + scaled:0{precision}d}"


def decode_decimal(text: str, precision: int = 36, scale: int = 18) -> Decimal:
    """The reverse, without trailing zeros."""
    return from_scaled(scaled_of(text, precision), scale)


def scaled_of(text: str, precision: int) -> int:
    """The stored decimal as a whole number of its smallest unit."""
    scaled = int(text[1:])
    return scaled - 10**precision if text[0] == "0" else scaled


def from_scaled(scaled: int, scale: int) -> Decimal:
    """The reverse of `scaled_of`."""
    return trimmed(CONTEXT.scaleb(Decimal(scaled), -scale)) if scaled else ZERO


def bare_decoder(field: FieldSchema) -> Codec | None:
    """What turns SQLite's value into a bare one (see `BareRow`); None where it is the same."""
    if field.sealed:
        return None
    if field.kind is Kind.BOOLEAN:
        return bool
    if field.kind is Kind.DECIMAL:
        precision, scale = field.precision, field.scale

        def text(value: str) -> str:
            if value[0] != "1":
                return plain(decode_decimal(value, precision, scale), scale)
            whole = str(int(value[1:-scale] or "0")) if scale else str(int(value[1:]))
            return f"{whole}.{value[-scale:]}" if scale else whole

        return text
    return None


def encoder(field: FieldSchema) -> Codec | None:
    """What turns a value of this field into SQLite's; None where it is the same."""
    if field.sealed:
        return None
    match field.kind:
        case Kind.TIME:
            return to_us
        case Kind.DECIMAL:
            precision, scale = field.precision, field.scale
            return lambda v: encode_decimal(v, precision, scale)
        case Kind.JSON:
            return lambda v: encode(v).decode()
        case Kind.TEXT if field.choices:
            return lambda v: v.value if isinstance(v, Enum) else v
        case Kind.BOOLEAN:
            return int
        case _:
            return None


def decoder(field: FieldSchema) -> Codec | None:
    """What turns SQLite's value into the field's; None where it is the same."""
    if field.sealed:
        return None
    match field.kind:
        case Kind.TIME:
            return from_us
        case Kind.DECIMAL:
            precision, scale = field.precision, field.scale
            return lambda v: decode_decimal(v, precision, scale)
        case Kind.JSON:
            return _json_decoder(field.python_type)
        case Kind.TEXT if field.choices:
            return {member.value: member for member in field.python_type}.__getitem__
        case Kind.BOOLEAN:
            return bool
        case _:
            return None


def _json_decoder(python_type: Any) -> Codec:
    return msgspec.json.Decoder(python_type, strict=False).decode


def column_type(field: FieldSchema) -> str:
    """The column's SQL type; sealed fields are stored as bytes whatever they hold."""
    return "BLOB" if field.sealed else SQL_TYPES[field.kind]
