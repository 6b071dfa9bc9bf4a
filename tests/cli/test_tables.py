"""Tables: they fit the terminal, lose nothing unseen, and no cell can command the terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.program import PATIENCE, PROGRAM, environment, thane
from thane.interfaces.cli.tables import ELLIPSIS, Column, layout, plain, width_of, wrapped

WIDTHS = (40, 80, 200)
ID = "exe_01a21046b12c7f02998c32d5a53e114d"
COLUMNS = (
    Column("INDEX"),
    Column("TIME", "start", least=13),
    Column("KIND", "drop"),
    Column("OPERATION"),
    Column("RESOURCE", "middle"),
    Column("WHY", "wrap"),
)
ROW = (4, "2026-11-25 01:16:38.061", "intent", "sandboxes.execute", ID, "because it was asked for, more " * 4)


@pytest.mark.parametrize("room", WIDTHS)
def test_no_line_is_wider_than_the_terminal(room: int) -> None:
    lines = layout([ROW, ROW], COLUMNS, room)
    assert max(map(width_of, lines)) <= room
    text = " ".join(" ".join(lines).split())
    assert "sandboxes.execute" in text
    for word in ("asked", "more"):
        assert word in text


def test_without_a_terminal_nothing_is_wrapped_or_shortened() -> None:
    lines = layout([ROW], COLUMNS, None)
    assert len(lines) == 2
    for cell in ROW:
        assert str(cell).strip() in lines[1]


def test_a_narrow_table_wraps_then_leaves_out_what_may_go_then_shortens() -> None:
    wide, middle, narrow = (layout([ROW], COLUMNS, room) for room in (200, 120, 95))
    assert ("KIND" in wide[0], len(wide) > 2) == (True, True)
    assert ("KIND" in middle[0], len(middle) > 2) == (False, True)
    assert ID in middle[1]
    assert ID not in narrow[1]
    shown = re.findall(rf"exe_\S*{ELLIPSIS}\S*4d", narrow[1])
    assert len(shown) == 1, narrow


def test_where_no_table_fits_each_row_is_a_block_of_lines() -> None:
    lines = layout([ROW], COLUMNS, 40)
    assert lines[0] == "INDEX      4"
    assert any(line.startswith("OPERATION  sandboxes.execute") for line in lines)
    assert ID in "".join(line[11:] for line in lines)


def test_wide_characters_take_two_columns_and_marks_none() -> None:
    assert [width_of(text) for text in ("abc", "日本", "e\u0301", "한", "Ａ")] == [3, 4, 1, 2, 2]
    lines = layout([("日本語", "x"), ("ab", "y")], (Column("N"), Column("V")), 80)
    at = {width_of(line[: line.index(mark)]) for line, mark in zip(lines[1:], "xy", strict=True)}
    assert at == {8}


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    hostile = "a\x1b[2J\nb\r\x07\x9b\u202egnp.exe\ud800"
    assert plain(hostile) == "a\\x1b[2J\\nb\\r\\x07\\x9b\\u202egnp.exe\\ud800"
    assert plain("Grüße, 日本, 👍") == "Grüße, 日本, 👍"
    (line,) = layout([(hostile,)], (Column("X"),), 80)[1:]
    assert line.isprintable()


cells = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(["日本" * 20, ID])


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(*[cells] * 6), max_size=4), room=st.sampled_from((*WIDTHS, 20, 61)))
def test_any_text_fits_and_is_harmless(rows: list[tuple[str, ...]], room: int) -> None:
    for line in layout(rows, COLUMNS, room):
        assert width_of(line) <= room
        assert not [char for char in line if unicodedata.category(char) in ("Cc", "Cs")]


@settings(max_examples=100, deadline=None)
@given(text=cells, width=st.integers(2, 30))
def test_wrapping_keeps_every_character(text: str, width: int) -> None:
    lines = wrapped(plain(text), width)
    assert all(width_of(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == plain(text).replace(" ", "")


# -- the program on a real terminal -----------------------------------------------------------


@pytest.fixture(scope="module")
def used(data: Path) -> Path:
    assert thane("run", "-c", "print(1)", data=data).code == 0
    assert thane("keys", "create", "鍵" * 20 + "\x1b[31m", data=data).code == 0
    return data


def on_a_terminal(columns: int, *arguments: str | Path, **env: str) -> str:
    """What a command writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    given = {"TERM": "xterm", **env}
    kept = {k: v for k, v in environment(**given).items() if k not in ("COLUMNS", "LINES")}
    if "NO_COLOR" not in env:
        kept.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], env=kept, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # how Linux tells that the last one has left the terminal
                break
            text += part
        process.wait(PATIENCE)
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


ANSI = re.compile(r"\x1b\[[0-9;]*m")


ON_TERMINALS = [
    *((("timeline",), width) for width in WIDTHS),
    *((command, 40) for command in (("keys", "list"), ("operations",), ("config", "check"), ("doctor",))),
]


@pytest.mark.parametrize(("command", "columns"), ON_TERMINALS, ids=str)
def test_a_command_fits_the_terminal(used: Path, command: tuple[str, ...], columns: int) -> None:
    data = () if command[0] in ("operations", "config") else ("--data", used)
    text = ANSI.sub("", on_a_terminal(columns, *command, *data))
    assert text.strip()
    # Commands to be copied stand whole on lines of their own, which a terminal wraps by itself.
    shown = [line for line in text.splitlines() if not line.startswith("  ")]
    assert [line for line in shown if width_of(line) > columns] == []
    assert "\x1b" not in text


def test_colours_are_for_terminals_whose_owners_want_them(used: Path) -> None:
    assert ANSI.search(on_a_terminal(120, "timeline", "--data", used))
    assert not ANSI.search(on_a_terminal(120, "timeline", "--data", used, NO_COLOR="1"))
    assert not ANSI.search(on_a_terminal(120, "timeline", "--data", used, TERM="dumb"))
    assert not ANSI.search(thane("timeline", data=used).text)
