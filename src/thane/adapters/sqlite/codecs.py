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

from thane.kernel.clock import EPOCH, MICROSECOND
from thane.kernel.money import CONTEXT
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
_json_encode = msgspec.json.Encoder(decimal_format="string").encode


def encode_decimal(value: Decimal, precision: int = 36, scale: int = 18) -> str:
    """`1` and the scaled digits for values from zero up; `0` and their complement below: text order is value order."""
    scaled = int(CONTEXT.scaleb(value, scale))
    if scaled >= 0:
        return f"1{scaled:0{precision}d}"
    return f"0{10**precision + scaled:0{precision}d}"


def decode_decimal(text: str, precision: int = 36, scale: int = 18) -> Decimal:
    """The reverse, without trailing zeros."""
    scaled = int(text[1:])
    if text[0] == "0":
        scaled -= 10**precision
    value = CONTEXT.scaleb(Decimal(scaled), -scale).normalize(CONTEXT)
    exponent = value.as_tuple().exponent
    # Never in scientific form: 50, not 5E+1.
    return CONTEXT.quantize(value, Decimal(1)) if isinstance(exponent, int) and exponent > 0 else value


def encoder(field: FieldSchema) -> Codec | None:
    """What turns a value of this field into SQLite's; None where it is the same."""
    if field.sealed:
        return None
    match field.kind:
        case Kind.TIME:
            return lambda v: (v - EPOCH) // MICROSECOND
        case Kind.DECIMAL:
            precision, scale = field.precision, field.scale
            return lambda v: encode_decimal(v, precision, scale)
        case Kind.JSON:
            return lambda v: _json_encode(v).decode()
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
            return lambda v: EPOCH + MICROSECOND * v
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
    decode = msgspec.json.Decoder(python_type, strict=False).decode
    return decode


def column_type(field: FieldSchema) -> str:
    """The column's SQL type; sealed fields are stored as bytes whatever they hold."""
    return "BLOB" if field.sealed else SQL_TYPES[field.kind]
