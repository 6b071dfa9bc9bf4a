"""What a hub reads: a line of items by position, from which events are made. See `ledger.py`, `parent.py`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from thane.kernel.live.choice import Choice
from thane.kernel.live.events import Event


class Item:
    """One thing at a position. `memo` keeps what was worked out of it, for all choices."""

    __slots__ = ("memo", "position", "value")

    def __init__(self, position: int, value: Any) -> None:
        self.position = position
        self.value = value
        self.memo: dict[Any, Any] = {}


class Source(Protocol):
    """Positions only grow; an item that was read once is the same for ever."""

    @property
    def key(self) -> Hashable:
        """Sources with one key are one."""

    @property
    def parent(self) -> str | None:
        """Whose rows these are, if they have a parent."""

    async def end(self) -> int:
        """The position that the next item will have."""

    async def page(self, position: int, limit: int) -> Sequence[Item]:
        """Items from a position on, in order; none if there are none yet."""

    async def settled(self) -> bool:
        """Whether nothing will be added any more: what is read after this has been all."""

    async def events(self, item: Item, choice: Choice) -> Sequence[Event]:
        """What an item means to a choice."""

    def name(self, position: int) -> str:
        """The id of a place: everything before `position` was sent."""
