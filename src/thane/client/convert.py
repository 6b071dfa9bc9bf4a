"""JSON to this package's dataclasses and back.

Tolerant of what it does not know: a field that a newer server adds is left out, a new word
of a status stays that word. What a dataclass needs and the answer lacks is an error.
"""

from __future__ import annotations

import base64
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import PurePath
from typing import Any, TypeVar

from thane.client.problem import UnexpectedAnswer

T = TypeVar("T")
CORE = "_core"
_Reader = Callable[[Any, Any], Any]


def read(kind: type[T], value: Any, core: object = None) -> T:
    """`value` as a `kind`; `core` goes to dataclasses that can ask for more. UnexpectedAnswer."""
    wanted: Any = kind
    try:
        found: T = _reader(wanted)(value, core)
    except (KeyError, TypeError, ValueError, ArithmeticError) as fault:
        raise UnexpectedAnswer(
            f"the answer is not what {getattr(kind, '__name__', kind)} looks like ({fault!r})",
            "Check that the URL is a Thane server's, and that its release fits this package.",
        ) from fault
    return found


def write(value: Any) -> Any:
    """`value` as plain JSON types: amounts and times as text, bytes as base64, nothing that is None."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; say datetime.now(UTC) or .astimezone()")
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != CORE)
        return {name: write(item) for name, item in fields if item is not None}
    if isinstance(value, Mapping):
        return {str(name): write(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [write(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be sent: {value!r}")


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given, ready to send."""
    return {name: write(value) for name, value in fields.items() if value is not None}


@cache
def _reader(kind: Any) -> _Reader:
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain
    if dataclasses.is_dataclass(kind):
        return _struct(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(arguments)
    if origin is list:
        item = _reader(arguments[0])
        return lambda value, core: [item(one, core) for one in _is(list, value)]
    if origin is tuple:
        item = _reader(arguments[0])
        return lambda value, core: tuple(item(one, core) for one in _is(list, value))
    if origin is dict:
        inner = _reader(arguments[1])
        return lambda value, core: {name: inner(one, core) for name, one in _is(dict, value).items()}
    return lambda value, core: value  # Any, Literal


def _optional(arguments: tuple[Any, ...]) -> _Reader:
    kinds = [kind for kind in arguments if kind is not type(None)]
    inner = _reader(kinds[0]) if len(kinds) == 1 else lambda value, core: value
    return lambda value, core: None if value is None else inner(value, core)


def _struct(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    readers = {f.name: _reader(hints[f.name]) for f in fields if f.name != CORE}
    bound = any(f.name == CORE for f in fields)

    def reader(value: Any, core: Any) -> Any:
        found = _is(dict, value)
        made = {name: inner(found[name], core) for name, inner in readers.items() if name in found}
        if bound:
            made[CORE] = core
        return kind(**made)

    return reader


def _is(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, got {type(value).__name__}")
    return value


def _text(value: Any, core: Any) -> str:
    return _is(str, value)


def _whole(value: Any, core: Any) -> int:
    return _is(int, value)


_PLAIN: dict[Any, _Reader] = {
    str: _text,
    int: _whole,
    bool: lambda value, core: _is(bool, value),
    float: lambda value, core: float(value),
    Decimal: lambda value, core: Decimal(value),
    datetime: lambda value, core: datetime.fromisoformat(value),
    bytes: lambda value, core: base64.b64decode(value, validate=True),
}
