"""Canonical JSON: one sequence of bytes for one value, so that a digest means something.

This is RFC 8785 (JCS) for the part of JSON that Thane stores: null, booleans, text,
whole numbers within ±(2^53 - 1), lists and objects. `encode` refuses floats rather than
format them: nothing that is counted is a float, and amounts travel as text. `encode_json`
allows them, for the JSON that people keep in rows. Neither must guess: a type that JSON
does not have (bytes, Decimal, datetime, an enum) is the caller's to turn into text first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

# RFC 8785 borrows ECMAScript's numbers; beyond this, two integers can share one double.
MAX_INT: Final = 2**53 - 1

# Deeper values are refused with a message instead of a RecursionError from somewhere below.
MAX_DEPTH: Final = 128

# msgspec writes strings as RFC 8785 wants them (short escapes, lowercase \u00xx below
# U+0020, everything else as UTF-8). `order="sorted"` sorts keys by code point, which is
# the RFC's UTF-16 order unless a key has a character from U+E000 upwards.
_sorted_encoder: Final = msgspec.json.Encoder(order="sorted")
_as_given_encoder: Final = msgspec.json.Encoder()

_SCALARS: Final = frozenset({str, bool, type(None)})
_FIRST_UNSAFE: Final = "\ue000"


def encode(value: object) -> bytes:
    """The RFC 8785 bytes of `value`: dict with str keys, list, tuple, str, int, bool or None.

    Raises TypeError for any other type (floats and subclasses included), ValueError for
    an integer beyond ±(2^53 - 1), for nesting past MAX_DEPTH (these three with the JSON
    pointer, RFC 6901, of what was refused) and for a lone surrogate.
    """
    try:
        if _sorts_by_code_point(value, 0):
            return _sorted_encoder.encode(value)
        return _as_given_encoder.encode(_sorted_by_utf16(value))
    except UnicodeEncodeError as surrogate:
        raise ValueError(f"text with a lone surrogate has no UTF-8 form: {surrogate}") from surrogate
    except _Refused:
        fault = _fault(value, "", 0)
        assert fault is not None, "the check refused a value in which nothing is wrong"
        raise fault from None


def encode_json(value: object) -> bytes:
    """As `encode`, for JSON that people keep: floats are allowed, written as RFC 8785 (ECMAScript) does.

    Raises as `encode`, and ValueError for NaN and the infinities, which JSON does not have.
    """
    try:
        return encode(value)
    except TypeError:
        # Its places are checked as if each float were a whole number; what else was wrong is raised again.
        encode(_replaced(value, lambda number: 0))
        return _as_given_encoder.encode(_sorted_by_utf16(_replaced(value, _number)))


def _replaced(value: object, replace: Callable[[float], object]) -> object:
    if type(value) is float:
        return replace(value)
    if type(value) is dict:
        return {key: _replaced(item, replace) for key, item in value.items()}
    if type(value) is list or type(value) is tuple:
        return [_replaced(item, replace) for item in value]
    return value


def _number(number: float) -> msgspec.Raw:
    """ECMA-262, Number::toString: Python's shortest digits, laid out by ECMAScript's rules."""
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number that JSON has")
    if number == 0:
        return msgspec.Raw(b"0")
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)  # where the point stands, counted from the first digit
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        text = digits + "0" * (point - count)
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        shown = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
        text = f"{shown}e{point - 1:+d}"
    return msgspec.Raw((sign + text).encode())


class _Refused(Exception):
    """Something in the value is not ours to encode; `_fault` finds out what and where."""


def _sorts_by_code_point(value: object, depth: int) -> bool:
    """Checks every part of `value` and tells whether code point order is good enough for its keys.

    Kept free of paths and messages: it runs on every write, errors are rare.
    """
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is int:
        if -MAX_INT <= value <= MAX_INT:  # type: ignore[operator]
            return True
        raise _Refused
    if depth == MAX_DEPTH:
        raise _Refused
    if kind is dict:
        # `&`, not `and`: both sides also refuse, so both have to run.
        return _keys_sort_by_code_point(value) & _all_sort(value.values(), depth + 1)  # type: ignore[arg-type, attr-defined]
    if kind is list or kind is tuple:
        return _all_sort(value, depth + 1)  # type: ignore[arg-type]
    raise _Refused


def _all_sort(items: Iterable[object], depth: int) -> bool:
    simple = True
    for item in items:
        if type(item) is not str and not _sorts_by_code_point(item, depth):
            simple = False
    return simple


def _keys_sort_by_code_point(keys: Iterable[object]) -> bool:
    simple = True
    for key in keys:
        if type(key) is not str:
            raise _Refused
        if not key.isascii() and max(key) >= _FIRST_UNSAFE:
            simple = False
    return simple


def _sorted_by_utf16(value: object) -> object:
    """A copy of `value` whose objects have their keys in the order of UTF-16 code units."""
    if isinstance(value, dict):
        ordered = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return {key: _sorted_by_utf16(value[key]) for key in ordered}
    if isinstance(value, (list, tuple)):
        return [_sorted_by_utf16(item) for item in value]
    return value


def _fault(value: object, pointer: str, depth: int) -> TypeError | ValueError | None:
    """The error for the first part of `value` that `_sorts_by_code_point` refuses."""
    where = f"at {pointer!r}" if pointer else "at the top"
    if isinstance(value, (dict, list, tuple)) and type(value) in (dict, list, tuple):
        if depth == MAX_DEPTH:
            return ValueError(f"value {where} is nested deeper than {MAX_DEPTH} levels")
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict) and type(key) is not str:
                return TypeError(f"object {where} has a key of type {type(key).__name__}; keys are text")
            step = str(key).replace("~", "~0").replace("/", "~1")
            found = _fault(item, f"{pointer}/{step}", depth + 1)
            if found is not None:
                return found
        return None
    return _scalar_fault(value, where)


def _scalar_fault(value: object, where: str) -> TypeError | ValueError | None:
    kind = type(value)
    if kind in _SCALARS:
        return None
    if kind is int:
        if -MAX_INT <= value <= MAX_INT:  # type: ignore[operator]
            return None
        return ValueError(f"integer {where} is beyond ±(2^53 - 1); write it as text")
    if kind is float:
        return TypeError(f"float {where} has no place in canonical JSON; write the amount as text")
    return TypeError(f"{kind.__name__} {where} is not a JSON type; turn it into text, a list or an object")
