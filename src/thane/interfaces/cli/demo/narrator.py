"""How the demo is told: numbered steps with what happened below them, or nothing where JSON is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from thane.interfaces.cli.output import room
from thane.interfaces.cli.tables import Column, layout, plain, wrapped

INDENT: Final = "   "
WIDEST: Final = 100
MOST_LINES: Final = 8


class Narrator:
    """Tells people on standard output; a silent one tells nobody."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._steps = 0

    def step(self, title: str) -> None:
        """A new step, told when it begins."""
        self._steps += 1
        self._out("")
        self._out(click.style(f"{self._steps}  {title}", bold=True))

    def say(self, text: str) -> None:
        """A sentence, wrapped to the terminal."""
        for line in wrapped(plain(text), min(room() or WIDEST, WIDEST) - len(INDENT)):
            self._out(INDENT + line)

    def quote(self, text: str) -> None:
        """What a program printed; of much only the last lines."""
        lines = text.rstrip("\n").split("\n") if text.strip() else []
        if len(lines) > MOST_LINES:
            self._out(f"{INDENT}| …")
        most = min(room() or WIDEST, WIDEST) - len(INDENT) - 2
        for line in lines[-MOST_LINES:]:
            for part in wrapped(plain(line), most):
                self._out(f"{INDENT}| {part}")

    def table(self, rows: Sequence[Sequence[object]], columns: Sequence[Column]) -> None:
        """A table below the step."""
        inner = room()
        for line in layout(rows, columns, None if inner is None else inner - len(INDENT)):
            self._out((INDENT + line).rstrip())

    def check(self, ok: bool, good: str, bad: str) -> None:
        """Whether it is as it must be."""
        text, colour = (f"ok: {good}", "green") if ok else (f"NOT AS EXPECTED: {bad}", "red")
        for line in wrapped(plain(text), min(room() or WIDEST, WIDEST) - len(INDENT)):
            self._out(INDENT + click.style(line, fg=colour))

    def end(self, text: str) -> None:
        """A paragraph after the last step."""
        self._out("")
        for line in text.splitlines():
            self._out(plain(line))

    def _out(self, line: str) -> None:
        if not self._silent:
            click.echo(line)
