"""What a check found, in words; and the one error of this package."""

from __future__ import annotations

from typing import NamedTuple


class Flaw(Exception):
    """Something does not hold or cannot be read. The text says what, for people."""


class Report(NamedTuple):
    """The result of a check in which no flaw was found; a flaw is raised instead."""

    proven: tuple[str, ...]
    recorded: tuple[str, ...]
    unproven: tuple[str, ...]

    def text(self) -> str:
        """Three headed lists, ending in a newline."""
        titles = ("PROVEN", "WHAT THE ENTRY SAYS", "NOT PROVEN")
        blocks = zip(titles, self, strict=True)
        return "\n".join(f"{title}\n" + "".join(f"  {line}\n" for line in lines) for title, lines in blocks)
