"""What a watch is sent: events with ids, and the place in a source that an id stands for."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar

import msgspec

from thane.kernel.errors import Fault, Invalid

T = TypeVar("T")

_LEDGER = re.compile(r"(-1|\d{1,15})(?:\.(\d{1,6}))?\Z", re.ASCII)
_SEQ = re.compile(r"-1\Z|\d{1,15}\Z", re.ASCII)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A row that changed, from the ledger. `operation` is `leave` when it no longer matches the filter.

    `record` is the row after the change, without sealed and secret fields: null after a
    delete, for a `leave`, and where an erasure has taken that version.
    """

    index: int
    entity: str
    id: str
    operation: Literal["create", "update", "delete", "leave"]
    version: int | None
    at: datetime
    record: dict[str, Any] | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was added to its parent: output of an execution, a sample of its use. `seq` has no gaps."""

    parent: str
    seq: int
    entity: str
    id: str
    operation: Literal["create"]
    version: int
    record: dict[str, Any]


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The first event: all that happens after `position` will be sent."""

    entity: str
    position: str


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The last event: why the watch is over. Resume after the last id that you received.

    `reason`: settled (the parent has ended, all is sent), slow (you read too slowly),
    stopping (the server is), failed, or the code of a refusal, such as unauthorized.
    """

    reason: str
    detail: str


class Place(NamedTuple):
    """Where to go on: with `position` (an entry's index, a row's seq), without its first `skip` events."""

    position: int
    skip: int = 0


class Event:
    """One event, shared by all who get it; what is made of it for the wire is made once."""

    __slots__ = ("_made", "data", "id", "n", "name")

    def __init__(self, name: str, id: str, data: bytes, n: int = 0) -> None:
        """`data` is JSON in one line; `n` is the event's number within its entry."""
        self.name = name
        self.id = id
        self.data = data
        self.n = n
        self._made: dict[Any, Any] = {}

    def once(self, make: Callable[[Event], T]) -> T:
        """`make(self)`, made once for all."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made


def place_in_ledger(after: str) -> Place:
    """`17` and `17.2` (the third change of entry 17) as the place after them. Invalid."""
    found = _LEDGER.match(after)
    if found is None or (found[1] == "-1" and found[2]):
        _refuse(f"{after[:40]!r} is no position in the ledger, such as 17 or 17.2")
    index = int(found[1])
    return Place(index + 1) if found[2] is None else Place(index, int(found[2]) + 1)


def place_in_parent(after: str, parent: str) -> Place:
    """`exe_…/17`, or 17 alone, as the place after it. Invalid for the position of another parent."""
    text = after.removeprefix(f"{parent}/")
    if _SEQ.match(text) is None:
        _refuse(f"{after[:80]!r} is no position in {parent}, such as {parent}/17")
    return Place(int(text) + 1)


def _refuse(detail: str) -> NoReturn:
    hint = "Send the id of the last event that you received, or nothing."
    raise Invalid(detail, hint=hint, faults=(Fault("/after", "position", detail),))
