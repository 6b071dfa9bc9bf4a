"""What commands print: JSON for programs, lines and tables for people, errors with the next step."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from thane.interfaces.cli.tables import Column, Table, plain
from thane.kernel.errors import SettingsError, ThaneError

if TYPE_CHECKING:
    from thane.interfaces.local import Answer

# Exit codes beside the program's own: wrong input, and all else that Thane refuses.
USAGE = 2
REFUSED = 70  # EX_SOFTWARE of sysexits.h; programs seldom end with it
# The next step where an error names none.
ANY_STEP = "Run `thane doctor` to see what is wrong on this machine."


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def note(text: str) -> None:
    """A line for people, on standard error. It may tell what others wrote, so a terminal obeys none of it."""
    click.echo(plain(text), err=True)


def refuse(message: str, hint: str, code: int = REFUSED) -> NoReturn:
    """End the command with what happened and what to do."""
    note(f"error: {message}")
    for line in (hint or ANY_STEP).splitlines():
        note(f"  {line}")
    sys.exit(code)


def refuse_usage(error: click.ClickException) -> NoReturn:
    """End the command with what is wrong with its words, and where they are explained."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"Try: {ctx.command_path if ctx else 'thane'} --help"
    # click asks and proposes in one text (`Did you mean …?`); here each has its place.
    refuse(" ".join(error.format_message().split()), hint, error.exit_code)


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


def room() -> int | None:
    """How many columns standard output has; None where it is no terminal, and nothing has to fit."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None


def table(rows: Sequence[Sequence[object]], columns: Sequence[Column]) -> None:
    """A table that fits the terminal."""
    show_lines(Table(columns, rows, room()), rows, head=True)


def show_lines(shape: Table, rows: Iterable[Sequence[object]], *, head: bool) -> None:
    """Rows of a table of this shape."""
    for line in shape.head() if head else ():
        click.echo(click.style(line, bold=True))
    for row in rows:
        for line in shape.row(row):
            click.echo(line)
