"""What commands print: JSON for programs, lines and tables for people, errors with the next step."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from thane.kernel.errors import SettingsError, ThaneError

if TYPE_CHECKING:
    from thane.interfaces.local import Answer

# Exit codes beside the program's own: wrong input, and all else that Thane refuses.
USAGE = 2
REFUSED = 70  # EX_SOFTWARE of sysexits.h; programs seldom end with it


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def note(text: str) -> None:
    """A line for people, on standard error."""
    click.echo(text, err=True)


def refuse(message: str, hint: str, code: int = REFUSED) -> NoReturn:
    """End the command with what happened and what to do."""
    note(f"error: {message}")
    if hint:
        note(f"  {hint}")
    sys.exit(code)


def refuse_error(error: ThaneError) -> NoReturn:
    """End the command with one of Thane's errors."""
    for fault in error.faults:
        note(f"  {fault.pointer or '/'}: {fault.detail}")
    wrong_input = 400 <= error.status < 500 or isinstance(error, SettingsError)
    refuse(error.message, error.hint, USAGE if wrong_input else REFUSED)


def body_of(answer: Answer) -> Any:
    """The answer's body; a problem ends the command."""
    if answer.status < 400:
        return answer.body
    problem: Mapping[str, Any] = answer.body or {}
    for fault in problem.get("errors", ()):
        note(f"  {fault['pointer'] or '/'}: {fault['detail']}")
    message = problem.get("detail") or problem.get("title") or f"status {answer.status}"
    refuse(message, problem.get("hint", ""), USAGE if answer.status < 500 else REFUSED)


def table(rows: Iterable[Sequence[object]], head: Sequence[str]) -> None:
    """Columns as wide as they need to be; the last one is cut to fit a terminal."""
    lines = [tuple(head), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    room = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 10_000
    for n, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        text = text if len(text) <= room else text[: max(room - 1, 1)] + "…"
        click.echo(click.style(text, bold=n == 0))
