"""Rows as bytes: the canonical row that digests cover, and back again for history.

Fields by name, NULLs left out, decimals as plain text at the column's scale, times in
microseconds, bytes as base64, JSON by RFC 8785 (floats as ECMAScript writes them), whole
numbers beyond ±(2^53 - 1) as text, sealed fields by their commitment. A step that only
adds a nullable field therefore changes no digest. What is digested is what an engine gives
back: no negative zero, no trailing zeros, no float that another float could be read for.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from thane.kernel import canonical
from thane.kernel.clock import from_us, to_us
from thane.kernel.money import CONTEXT, ZERO, plain
from thane.kernel.records.predicate import to_plain
from thane.kernel.records.schema import FieldSchema, Kind, Schema


def canonical_row(schema: Schema, record: Any, commitments: Mapping[str, bytes]) -> bytes:
    """The row's bytes. `commitments` gives the sealed fields'; secret fields are left out."""
    read = schema.read
    assert read is not None
    values = read(record)
    row: dict[str, Any] = {"version": record.version}
    for name, place, convert in _plan(schema):
        value = values[place]
        if value is not None:
            row[name] = value if convert is None else convert(value)
    for name, commitment in commitments.items():
        row[name] = commitment.hex()
    return _encode_row(row)


# Canonical for a row's dict: its names are ASCII, its values scalars of the field's kind (what is stored
# has been checked), and JSON comes in its own canonical bytes. So nothing needs to be looked at again.
_encode_row = msgspec.json.Encoder(order="sorted").encode
Convert = Callable[[Any], Any]


def _plan(schema: Schema) -> list[tuple[str, int, Convert | None]]:
    """(name, place, what makes the canonical value; None: the value is it), of the fields in the plain."""
    known: list[tuple[str, int, Convert | None]] | None = schema.__dict__.get("_canonical")
    if known is None:
        fields = [(place, f) for place, f in enumerate(schema.fields) if not (f.secret or f.sealed)]
        if not all(f.name.isascii() for _, f in fields):
            raise TypeError(f"{schema.table}: a field's name is not ASCII")
        known = schema.__dict__["_canonical"] = [(f.name, place, _converter(f)) for place, f in fields]
    return known


def _converter(field: FieldSchema) -> Convert | None:
    """How one value stands in canonical JSON. An enum's member is written as its value."""
    match field.kind:
        case Kind.TIME:
            return to_us
        case Kind.DECIMAL:
            scale = field.scale
            return lambda v: plain(v or ZERO, scale)  # -0 is stored as 0
        case Kind.BYTES:
            return lambda v: base64.b64encode(v).decode()
        case Kind.JSON:
            return lambda v: msgspec.Raw(canonical.encode_json(to_plain(v)))
        case Kind.INTEGER:
            return lambda v: v if -canonical.MAX_INT <= v <= canonical.MAX_INT else str(v)
        case _:
            return None


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
