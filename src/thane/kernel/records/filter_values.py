"""Values written in a filter, checked against the field that they are compared with.

Pure functions; the grammar is in `filter.py`.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from thane.kernel.money import fits
from thane.kernel.records.schema import FieldSchema, Kind

Literal = str | int | Decimal | bool | None
INT64 = 1 << 63
MAX_JSON_INTEGER = (1 << 53) - 1  # beyond it engines and JSON readers do not agree

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(Z|[+-]\d\d:?\d\d)?)?\Z",
    re.ASCII | re.IGNORECASE,
)
_ORDERED = (">", ">=", "<", "<=")


class WrongValue(Exception):
    """The value or operator does not fit the field; its text says why."""


def value_for(field: FieldSchema, operator: str, value: Literal) -> Any:
    """The value to bind for `field operator value`. Not for JSON and null. WrongValue if it does not fit."""
    if operator in ("~", "!~"):
        return _text_in(field, operator, value)
    match field.kind:
        case Kind.TEXT:
            return _text(field, operator, value)
        case Kind.BOOLEAN:
            if operator in _ORDERED:
                raise WrongValue(f"{field.name} is true or false; {operator} has no meaning")
            if not isinstance(value, bool):
                raise WrongValue(f"{field.name} is compared with true or false, not {shown(value)}")
            return value
        case Kind.INTEGER:
            if isinstance(value, bool) or not isinstance(value, int):
                raise WrongValue(f"{field.name} is compared with a whole number, not {shown(value)}")
            if not -INT64 <= value < INT64:
                raise WrongValue(f"{field.name} is a number of 64 bits; {value} is beyond it")
            return value
        case Kind.DECIMAL:
            return _decimal(field, value)
        case Kind.TIME:
            return _time(field, value)
        case _:
            raise WrongValue(f"{field.name} is {field.kind} and can only be compared with null")


def shown(value: object) -> str:
    """A value as its writer would know it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 40 else f'"{value[:37]}…"'
    return str(value)


def _text_in(field: FieldSchema, operator: str, value: Literal) -> str:
    if field.kind is not Kind.TEXT:
        raise WrongValue(f"{field.name} is {field.kind}; {operator} is for text")
    if not isinstance(value, str):
        raise WrongValue(f"{operator} needs text in quotes, not {shown(value)}")
    if not value:
        raise WrongValue(f"{operator} needs text that is not empty")
    return value


def _text(field: FieldSchema, operator: str, value: Literal) -> str:
    if not isinstance(value, str):
        raise WrongValue(f"{field.name} is compared with text in quotes, not {shown(value)}")
    if not field.choices:
        return value
    if operator in _ORDERED:
        raise WrongValue(f"{field.name} is one of {', '.join(field.choices)}; {operator} has no meaning")
    if value not in field.choices:
        near = difflib.get_close_matches(value, field.choices, 1, 0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise WrongValue(f"{field.name} is one of {', '.join(field.choices)}, never {shown(value)}{hint}")
    return value


def _decimal(field: FieldSchema, value: Literal) -> Decimal:
    number = value
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d+)?", value, re.ASCII):
        number = Decimal(value)
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        raise WrongValue(f"{field.name} is compared with a number, not {shown(value)}")
    number = Decimal(number)
    if not fits(number, field.precision, field.scale):
        digits = f"{field.precision - field.scale} digits before and {field.scale} after the point"
        raise WrongValue(f"{field.name} has at most {digits}")
    return number


def _time(field: FieldSchema, value: Literal) -> datetime:
    """ISO 8601: a day, or a day and a time; UTC where no zone is written."""
    found = _TIME.match(value) if isinstance(value, str) else None
    if found is None:
        wanted = 'a time such as "2026-01-31" or "2026-01-31T12:00:00Z"'
        raise WrongValue(f"{field.name} is compared with {wanted}, not {shown(value)}")
    day, clock, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}{(zone or 'Z').upper()}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongValue(f"{field.name}: {shown(value)} is no time that there is ({error})") from None


# -- JSON ----------------------------------------------------------------------------


def json_value(field: FieldSchema, path: list[str], value: Literal, *, listed: bool) -> Any:
    """The value as it stands in the JSON document at `path`; `listed`: inside the list there.

    Where the field has a declared struct, the path and the leaf are checked against it.
    """
    declared = _declared(field.python_type, path, field.name)
    if isinstance(value, Decimal):
        if declared is Decimal:
            raise WrongValue(
                f"{'.'.join([field.name, *path])} is exact money in JSON and cannot be filtered by"
            )
        return float(value)
    if isinstance(value, int) and abs(value) > MAX_JSON_INTEGER:
        raise WrongValue(f"{value} is beyond the whole numbers of JSON (2^53)")
    if listed or declared is None:
        return value
    wanted = str if isinstance(declared, type) and issubclass(declared, Enum) else declared
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return value
    if wanted in (str, int, float, bool) and type(value) is not wanted:
        raise WrongValue(f"{'.'.join([field.name, *path])} is {wanted.__name__}, not {shown(value)}")
    if wanted in (Decimal, datetime):
        raise WrongValue(f"{'.'.join([field.name, *path])} is {wanted.__name__} and cannot be filtered by")
    return value


def _declared(declared: Any, path: list[str], name: str) -> Any:
    """The type at the end of `path`, None where nothing is declared."""
    for step in path:
        if not (isinstance(declared, type) and issubclass(declared, msgspec.Struct)):
            return None
        known = {f.encode_name: f.type for f in msgspec.structs.fields(declared)}
        if step not in known:
            near = difflib.get_close_matches(step, known, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise WrongValue(f"{name} has no {step!r}; {hint}")
        name, declared = f"{name}.{step}", known[step]
    return declared
