"""Tables that fit the terminal they are printed on, whatever is in their cells. Pure: text in, lines out.

What does not fit is never cut off unseen: prose is wrapped, an id is shortened in its middle
with an ellipsis, a column that others imply is left out, and where even that is too wide each
row becomes a block of lines. Cells may hold what others wrote, so nothing in them reaches a
terminal as a control character.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

GAP: Final = 2
ELLIPSIS: Final = "…"
# Below so few columns prose is not readable beside others.
LEAST_PROSE: Final = 24
# They turn the direction of what follows, or hide in it, though they are no control characters.
_DECEIVING: Final = frozenset("\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\ufeff") | {
    chr(code) for code in range(0x2060, 0x2070)
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `fit` says what may happen to it when the terminal is too narrow.

    keep: nothing; wrap: broken between words into several lines; middle and start: shortened
    there, to no less than `least`; drop: left out, before anything is shortened.
    """

    head: str
    fit: Literal["keep", "wrap", "middle", "start", "drop"] = "keep"
    least: int = 10


def width_of(text: str) -> int:
    """How many columns a terminal needs for it: East Asian wide characters take two, marks none."""
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def plain(text: str) -> str:
    """The text with everything escaped that a terminal would obey instead of showing it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char in _DECEIVING or unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn"):
        return char.encode("unicode_escape").decode("ascii")
    return char


def layout(rows: Iterable[Sequence[object]], columns: Sequence[Column], room: int | None) -> list[str]:
    """The lines of the table, its head first; none is wider than `room` columns (None: as wide as it is)."""
    cells = [tuple(row) for row in rows]
    table = Table(columns, cells, room)
    return [*table.head(), *(line for row in cells for line in table.row(row))]


class Table:
    """A table whose widths are fixed by some rows: all of them, or what is usual if they come one by one."""

    def __init__(
        self, columns: Sequence[Column], usual: Iterable[Sequence[object]], room: int | None
    ) -> None:
        self._columns = columns
        self._room = room
        heads = [column.head for column in columns]
        lines = (heads, *map(_cells, usual))
        self._widths = [max(width_of(line[n]) for line in lines) for n in range(len(columns))]
        self._shown = list(range(len(columns)))
        # Each row as lines of `head  value`, for terminals on which no table fits.
        self._blocks = False
        if room is not None:
            self._fit(room)

    def head(self) -> list[str]:
        """The first lines; none where each row names its own cells."""
        return [] if self._blocks else self._line([column.head for column in self._columns])

    def row(self, row: Sequence[object]) -> list[str]:
        """The lines of one row."""
        return self._block(_cells(row)) if self._blocks else self._line(_cells(row))

    def _fit(self, room: int) -> None:
        # Prose gives way first: it loses nothing by being wrapped.
        self._narrow(room, ("wrap",))
        for n, column in reversed(list(enumerate(self._columns))):
            if column.fit == "drop" and self._over(room) > 0:
                self._shown.remove(n)
        self._narrow(room, ("middle", "start"))
        if self._over(room) > 0:
            self._blocks = True
            self._widths = [max(width_of(column.head) for column in self._columns) + GAP]

    def _over(self, room: int) -> int:
        return sum(self._widths[n] for n in self._shown) + GAP * (len(self._shown) - 1) - room

    def _narrow(self, room: int, kinds: tuple[str, ...]) -> None:
        """Take columns away where most are, until it fits or nothing of these kinds may give more."""
        least = [LEAST_PROSE if column.fit == "wrap" else column.least for column in self._columns]
        while (over := self._over(room)) > 0:
            able = [n for n in self._shown if self._columns[n].fit in kinds and self._widths[n] > least[n]]
            if not able:
                return
            widest = max(able, key=lambda n: self._widths[n])
            second = max((self._widths[n] for n in able if n != widest), default=0)
            width = self._widths[widest]
            self._widths[widest] = max(least[widest], width - over, min(second, width - 1))

    def _line(self, cells: Sequence[str]) -> list[str]:
        parts = [_fitted(cells[n], self._columns[n], self._widths[n]) for n in self._shown]
        lines = []
        for at in range(max(len(part) for part in parts)):
            texts = [part[at] if at < len(part) else "" for part in parts]
            padded = (_padded(text, self._widths[n]) for text, n in zip(texts, self._shown, strict=True))
            lines.append((" " * GAP).join(padded).rstrip())
        return lines

    def _block(self, cells: Sequence[str]) -> list[str]:
        assert self._room is not None
        (side,) = self._widths
        beside = self._room - side >= LEAST_PROSE // 2
        lines: list[str] = []
        for column, value in zip(self._columns, cells, strict=True):
            if value and beside:
                first, *more = wrapped(value, self._room - side)
                lines += [_padded(column.head, side) + first, *(" " * side + text for text in more)]
            elif value:
                lines += [*wrapped(column.head, self._room), *wrapped(value, self._room)]
        return [*lines, ""]


def _cells(row: Sequence[object]) -> list[str]:
    return ["" if cell is None else plain(str(cell)) for cell in row]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def _fitted(text: str, column: Column, width: int) -> list[str]:
    if width_of(text) <= width or column.fit in ("keep", "drop"):
        return [text]
    if column.fit == "wrap":
        return wrapped(text, width)
    return [_shortened(text, width, column.fit)]


def _shortened(text: str, width: int, fit: str) -> str:
    """With an ellipsis in its middle or in place of its start."""
    tail = width - 1 if fit == "start" else (width - 1) // 2
    return _first(text, width - 1 - tail) + ELLIPSIS + _first(text[::-1], tail)[::-1]


def _first(text: str, width: int) -> str:
    used = 0
    for n, char in enumerate(text):
        used += _width(char)
        if used > width:
            return text[:n]
    return text


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, broken between words, and in a word that is longer."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and width_of(line) + 1 + width_of(word) <= width:
            line += " " + word
            continue
        if line:
            lines.append(line)
        line = word
        while width_of(line) > width:
            head = _first(line, max(width, 2))
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line]
