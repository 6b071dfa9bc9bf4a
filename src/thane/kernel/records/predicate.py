"""The closed algebra of conditions: what every engine can answer, and nothing else.

A predicate is a shape (what the statement's text depends on, hashable, so compiled
text is cached by it) and the values to bind. Engines compile shapes; `matches`
evaluates one in Python, for guards and for the feed.

Shapes: ("and"|"or", a, b) · ("not", a) · ("=", field) … the comparisons · ("in", field, n)
· ("null", field) · ("notnull", field) · ("prefix", field) · ("substring", field)
· ("contains", field) for JSON · ("after", ((field, descending, is_null), …)) for
keyset pages, with a value bound for each key that is not null.
Comparisons with NULL are false, as in SQL, also under `not`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")
Shape = tuple[Any, ...]
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")


class Predicate:
    """Combine with `&`, `|` and `~`; `and`, `or`, `not` cannot be overloaded and are refused."""

    __slots__ = ("shape", "values")

    def __init__(self, shape: Shape, values: tuple[Any, ...] = ()) -> None:
        self.shape = shape
        self.values = values

    def __and__(self, other: Predicate) -> Predicate:
        return Predicate(("and", self.shape, other.shape), self.values + other.values)

    def __or__(self, other: Predicate) -> Predicate:
        return Predicate(("or", self.shape, other.shape), self.values + other.values)

    def __invert__(self) -> Predicate:
        return Predicate(("not", self.shape), self.values)

    def __bool__(self) -> bool:
        raise TypeError("combine predicates with & | ~, not with and, or, not")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Predicate) and (self.shape, self.values) == (other.shape, other.values)

    def __hash__(self) -> int:
        return hash((self.shape, self.values))

    def __repr__(self) -> str:
        return f"Predicate({self.shape!r}, {self.values!r})"


class Order:
    """One key of an ordering."""

    __slots__ = ("descending", "field")

    def __init__(self, field: str, descending: bool) -> None:
        self.field = field
        self.descending = descending


class Column(Generic[T]):
    """A field seen on its class: makes predicates that know the field's type."""

    __slots__ = ("_slot", "name", "table")

    def __init__(self, table: str, name: str, slot: Any) -> None:
        self.table = table
        self.name = name
        self._slot = slot

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else self._slot.__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError(f"{self.table}.{self.name}: records are changed by unit.update")

    def _compare(self, operator: str, value: Any) -> Predicate:
        if value is None:
            if operator == "=":
                return Predicate(("null", self.name))
            if operator == "!=":
                return Predicate(("notnull", self.name))
            raise TypeError(f"{self.name} {operator} None has no meaning")
        return Predicate((operator, self.name), (value,))

    def __eq__(self, value: T) -> Predicate:  # type: ignore[override]
        return self._compare("=", value)

    def __ne__(self, value: T) -> Predicate:  # type: ignore[override]
        return self._compare("!=", value)

    def __lt__(self, value: T) -> Predicate:
        return self._compare("<", value)

    def __le__(self, value: T) -> Predicate:
        return self._compare("<=", value)

    def __gt__(self, value: T) -> Predicate:
        return self._compare(">", value)

    def __ge__(self, value: T) -> Predicate:
        return self._compare(">=", value)

    __hash__ = object.__hash__

    def in_(self, values: Iterable[T]) -> Predicate:
        bound = tuple(values)
        return Predicate(("in", self.name, len(bound)), bound)

    def startswith(self, text: str) -> Predicate:
        return Predicate(("prefix", self.name), (text,))

    def has(self, text: str) -> Predicate:
        """Holds the text somewhere, ignoring the case of ASCII letters."""
        return Predicate(("substring", self.name), (text,))

    def contains(self, document: Mapping[str, Any] | list[Any]) -> Predicate:
        """JSON containment as PostgreSQL's `@>` defines it."""
        return Predicate(("contains", self.name), (document,))

    def asc(self) -> Order:
        return Order(self.name, False)

    def desc(self) -> Order:
        return Order(self.name, True)


def all_of(predicates: Iterable[Predicate | None]) -> Predicate | None:
    """The conjunction of those given; None if there is none."""
    result: Predicate | None = None
    for predicate in predicates:
        if predicate is not None:
            result = predicate if result is None else result & predicate
    return result


def to_plain(value: Any) -> Any:
    """A typed JSON value as it is stored: dicts, lists, scalars; amounts and times as text."""
    return _amounts_as_text(msgspec.to_builtins(value, builtin_types=(Decimal,), str_keys=True))


def _amounts_as_text(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _amounts_as_text(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_amounts_as_text(item) for item in value]
    return f"{value:f}" if kind is Decimal else value


def json_contains(document: Any, wanted: Any) -> bool:
    """PostgreSQL's `document @> wanted`: objects by key, arrays as sets, scalars by equality.

    A top-level array contains a scalar.
    """
    if isinstance(wanted, dict):
        return isinstance(document, dict) and all(
            key in document and _inside(document[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(document, list) and all(any(_inside(d, w) for d in document) for w in wanted)
    if isinstance(document, list):
        return any(_scalar_equal(d, wanted) for d in document)
    return _scalar_equal(document, wanted)


def _inside(document: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict | list):
        return json_contains(document, wanted)
    return _scalar_equal(document, wanted)


def _scalar_equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict | list) or isinstance(a, bool) is not isinstance(b, bool):
        return False
    return bool(a == b)


def matches(predicate: Predicate, read: Any) -> bool:
    """Evaluate in Python; `read(name)` gives a field's value. NULL is unknown, and unknown is not true."""
    return _evaluate(predicate.shape, iter(predicate.values), read) is True


def _evaluate(shape: Shape, values: Any, read: Any) -> bool | None:
    kind = shape[0]
    if kind in ("and", "or"):
        left, right = _evaluate(shape[1], values, read), _evaluate(shape[2], values, read)
        if kind == "and":
            return (
                False
                if left is False or right is False
                else (None if left is None or right is None else True)
            )
        return True if left is True or right is True else (None if left is None or right is None else False)
    if kind == "not":
        inner = _evaluate(shape[1], values, read)
        return None if inner is None else not inner
    if kind == "null":
        return read(shape[1]) is None
    if kind == "notnull":
        return read(shape[1]) is not None
    if kind == "in":
        wanted = [next(values) for _ in range(shape[2])]
        value = _comparable(read(shape[1]))
        return None if value is None else value in [_comparable(w) for w in wanted]
    if kind == "after":
        return _after(shape[1], [None if key[2] else next(values) for key in shape[1]], read)
    return _compare_values(kind, read(shape[1]), next(values))


def _compare_values(kind: str, value: Any, wanted: Any) -> bool | None:
    if value is None:
        return None
    value, wanted = _comparable(value), _comparable(wanted)
    if kind == "prefix":
        return str(value).startswith(wanted)
    if kind == "substring":
        return _ascii_lower(wanted) in _ascii_lower(str(value))
    if kind == "contains":
        return json_contains(to_plain(value), wanted)
    return bool(
        value == wanted
        if kind == "="
        else value != wanted
        if kind == "!="
        else value < wanted
        if kind == "<"
        else value <= wanted
        if kind == "<="
        else value > wanted
        if kind == ">"
        else value >= wanted
    )


def _comparable(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _ascii_lower(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def _after(keys: tuple[tuple[str, bool, bool], ...], values: list[Any], read: Any) -> bool:
    """Keyset order: NULL sorts below everything, as on every engine of ours."""
    for (name, descending, _), wanted in zip(keys, values, strict=True):
        value = _comparable(read(name))
        wanted = _comparable(wanted)
        if value == wanted:
            continue
        above = wanted is None or (value is not None and value > wanted)
        return above is not descending
    return False
