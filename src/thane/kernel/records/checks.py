"""What a unit refuses before an engine sees it: rows, queries and measures that cannot be meant.

Here, and not in the engines, so that all of them refuse the same things in the same words:
what PostgreSQL would not take (NUL in text), what one engine would cut (digits), what has
no UTF-8 form. Values are the caller's fault and Invalid; a query on a field that is not
there, or that cannot be compared, is the program's and a TypeError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from thane.kernel import canonical
from thane.kernel.errors import Fault, Invalid
from thane.kernel.money import fits
from thane.kernel.records.engine import Measure
from thane.kernel.records.predicate import Order, Predicate, Shape, to_plain
from thane.kernel.records.schema import FieldSchema, Kind, Schema

INT64 = 1 << 63
Wrong = tuple[str, str] | None  # a fault's code and detail
_MEASURES = ("count", "sum", "avg", "min", "max")
_NUMBERS = (Kind.INTEGER, Kind.DECIMAL)
# Shapes come from outside too (filters); past this the memory of what was checked is dropped.
_REMEMBERED = 500


# -- rows --------------------------------------------------------------------------------


def check_record(schema: Schema, record: Any) -> None:
    """Invalid, with a fault for each field whose value the schema does not allow."""
    faults: list[Fault] = []
    read = schema.read
    assert read is not None
    for (name, nullable, check), value in zip(_checkers(schema), read(record), strict=True):
        wrong = check(value) if value is not None else None if nullable else ("required", "must not be empty")
        if wrong is not None:
            faults.append(Fault(f"/{name}", *wrong))
    if faults:
        raise Invalid("; ".join(f"{f.pointer[1:]} {f.detail}" for f in faults), faults=tuple(faults))


def check_json(schema: Schema, record: Any) -> None:
    """Invalid if a JSON field holds what could not be digested, or not be read again."""
    for field in schema.fields:
        if field.kind is Kind.JSON:
            value = getattr(record, field.name)
            wrong = None if not value else _json(field, value)  # nothing is wrong with {} and []
            if wrong is not None:
                detail = f"{field.name} {wrong[1]}"
                raise Invalid(detail, faults=(Fault(f"/{field.name}", *wrong),))


def check_deltas(schema: Schema, deltas: Mapping[str, Any]) -> None:
    """TypeError for arithmetic on what is no number, or with what is none (a float, say)."""
    for name, delta in deltas.items():
        field = schema.by_name.get(name)
        if field is None or field.kind not in (*_NUMBERS, Kind.JSON):
            raise TypeError(f"{schema.table}.{name} cannot be added to")
        parts = delta.values() if isinstance(delta, Mapping) else (delta,)
        if isinstance(delta, Mapping) is not (field.kind is Kind.JSON):
            raise TypeError(f"{schema.table}.{name}: a number is added to numbers, a mapping to JSON objects")
        wanted: Any = int if field.kind is Kind.INTEGER else (int, Decimal)
        for part in parts:
            if isinstance(part, bool) or not isinstance(part, wanted):
                raise TypeError(f"{schema.table}.{name}: {part!r} cannot be added exactly")
            if isinstance(part, Decimal) and not part.is_finite():
                raise Invalid(f"{name}: {part} is no amount")


def _checkers(schema: Schema) -> list[tuple[str, bool, Callable[[Any], Wrong]]]:
    known: list[tuple[str, bool, Callable[[Any], Wrong]]] | None = schema.__dict__.get("_checkers")
    if known is None:
        known = [(f.name, f.nullable, _checker(f)) for f in schema.fields]
        schema.__dict__["_checkers"] = known
    return known


def _checker(field: FieldSchema) -> Callable[[Any], Wrong]:
    if field.choices:
        words = frozenset(field.choices)
        named = ("choice", f"is one of {', '.join(field.choices)}")
        return lambda v: None if (v.value if isinstance(v, Enum) else v) in words else named
    match field.kind:
        case Kind.TEXT:
            return _text
        case Kind.INTEGER:
            return _integer
        case Kind.DECIMAL:
            return _decimal(field)
        case Kind.TIME:
            return _time
        case Kind.BOOLEAN:
            return lambda v: None if type(v) is bool else ("type", "must be true or false")
        case Kind.BYTES:
            return lambda v: None if isinstance(v, bytes) else ("type", "must be bytes")
        case Kind.JSON:
            struct = field.python_type
            if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
                return lambda v: None if isinstance(v, struct) else ("type", f"must be a {struct.__name__}")
            return lambda v: None


def _text(value: Any) -> Wrong:
    if not isinstance(value, str):
        return "type", "must be text"
    if "\0" in value:
        return "nul", "must not hold a NUL character"
    if value.isascii() or _has_utf8(value):
        return None
    return "surrogate", "holds half of a surrogate pair, which is no character"


def _has_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(value: Any) -> Wrong:
    if isinstance(value, bool) or not isinstance(value, int):
        return "type", "must be a whole number"
    return None if -INT64 <= value < INT64 else ("out_of_range", "does not fit into 64 bits")


def _decimal(field: FieldSchema) -> Callable[[Any], Wrong]:
    precision, scale = field.precision, field.scale
    narrow = ("out_of_range", f"does not fit into {precision} digits with {scale} after the point")

    def check(value: Any) -> Wrong:
        if not isinstance(value, Decimal):
            return "type", "must be a decimal"
        return None if fits(value, precision, scale) else narrow

    return check


def _time(value: Any) -> Wrong:
    if not isinstance(value, datetime):
        return "type", "must be a time"
    return None if value.tzinfo is not None else ("zone", "must have a time zone")


def _json(field: FieldSchema, value: Any) -> Wrong:
    try:
        plain = to_plain(value)
        encoded = canonical.encode_json(plain)
        if b"\\u0000" in encoded and _holds_nul(plain):
            return "nul", "must not hold a NUL character"
        msgspec.convert(plain, field.python_type, strict=False)
    except (TypeError, ValueError, RecursionError) as fault:  # msgspec's errors are ValueErrors
        return "json", f"cannot be kept as JSON: {fault}"
    return None


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list | tuple) and any(_holds_nul(item) for item in value)


# -- queries -----------------------------------------------------------------------------


def check_query(schema: Schema, where: Predicate | None, order: Sequence[Order]) -> None:
    """TypeError for a field that cannot be asked for, Invalid for a value that no row can have."""
    checked: set[Any] = schema.__dict__.setdefault("_checked", set())
    keys = tuple(key.field for key in order)
    shape = None if where is None else where.shape
    if (shape, keys) not in checked:
        for name in keys:
            if _field(schema, name).kind in (Kind.JSON, Kind.BYTES) or _field(schema, name).sealed:
                raise TypeError(f"{schema.table}.{name} has no order")
        if shape is not None:
            _check_shape(schema, shape)
        if len(checked) > _REMEMBERED:
            checked.clear()
        checked.add((shape, keys))
    if where is not None:
        for value in where.values:
            _check_bound(value)


def check_measures(schema: Schema, measures: Mapping[str, Measure], by: Sequence[str]) -> None:
    """TypeError for a figure that has no meaning."""
    for name in by:
        field = _field(schema, name)
        if field.kind in (Kind.JSON, Kind.BYTES) or field.sealed:
            raise TypeError(f"{schema.table}.{name} cannot be grouped by")
    for name, measure in measures.items():
        if measure.function not in _MEASURES:
            raise TypeError(f"{name}: there is no measure {measure.function!r}")
        if name in by:
            raise TypeError(f"{name} is both a measure and a field of the groups")
        if measure.field is None:
            if measure.function != "count":
                raise TypeError(f"{name}: {measure.function} needs a field")
            continue
        field = _field(schema, measure.field)
        summed = measure.function in ("sum", "avg")
        ordered = field.kind not in (Kind.JSON, Kind.BYTES) and not field.sealed
        if measure.function != "count" and not (field.kind in _NUMBERS if summed else ordered):
            raise TypeError(f"{name}: {schema.table}.{field.name} has no {measure.function}")


def _check_shape(schema: Schema, shape: Shape) -> None:
    kind = shape[0]
    if kind in ("and", "or", "not"):
        for part in shape[1:]:
            _check_shape(schema, part)
        return
    for name in [key[0] for key in shape[1]] if kind == "after" else [shape[1]]:
        field = _field(schema, name)
        if kind in ("null", "notnull"):
            continue
        if field.sealed:
            raise TypeError(f"{schema.table}.{name} is sealed: it is found by its blind index only")
        if (kind == "contains") is not (field.kind is Kind.JSON):
            raise TypeError(f"{schema.table}.{name} is {field.kind}, which does not fit {kind!r}")
        if kind in ("prefix", "substring") and field.kind is not Kind.TEXT:
            raise TypeError(f"{schema.table}.{name} is {field.kind}; {kind} is for text")


_VERSION = FieldSchema(name="version", kind=Kind.INTEGER)


def _field(schema: Schema, name: str) -> FieldSchema:
    field = schema.by_name.get(name)
    if field is None:
        if name == "version":
            return _VERSION
        raise TypeError(f"{schema.table} has no field {name!r}")
    return field


def _check_bound(value: Any) -> None:
    kind = type(value)
    if kind is str:
        if not _has_utf8(value):
            raise Invalid("a compared text holds half of a surrogate pair, which is no character")
    elif kind is int:
        if not -INT64 <= value < INT64:
            raise Invalid(f"{value} does not fit into 64 bits")
    elif kind is Decimal and not value.is_finite():
        raise Invalid(f"{value} is no amount that could be compared with")
