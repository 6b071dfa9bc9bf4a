"""The commands that the README tells a newcomer, read out of it, so that what is tested is what is told.

`python3 tests/support/readme.py main|tests` prints one of the two commands; the standard
library is all it needs, since `.ci/run` and `just fresh` use it before anything is installed.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"

_FENCE = re.compile(r"^```(?P<language>[\w-]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class TwoCommands:
    """What a newcomer types: `main` does the main job, `tests` runs the tests."""

    main: str
    tests: str


def command_blocks(text: str) -> list[list[str]]:
    """The commands of each fenced `sh` block: comments and blank lines left out, `\\` lines joined."""
    blocks = []
    for match in _FENCE.finditer(text):
        if match["language"] != "sh":
            continue
        lines = match["body"].replace("\\\n", " ").splitlines()
        blocks.append([command for line in lines if (command := _without_comment(line))])
    return blocks


def _without_comment(line: str) -> str:
    words = shlex.shlex(line, posix=False, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = "#"
    return " ".join(words)


def two_commands(text: str) -> TwoCommands:
    """The two commands of the first block that holds both. Raises ValueError when there is none."""
    for block in command_blocks(text):
        main = [command for command in block if command.startswith("uv run thane run ")]
        tests = [command for command in block if command.startswith("uv run pytest")]
        if main and tests:
            return TwoCommands(main=main[0], tests=tests[0])
    raise ValueError("the README has no fenced `sh` block with `uv run thane run …` and `uv run pytest`")


if __name__ == "__main__":
    commands = two_commands(README.read_text(encoding="utf-8"))
    print({"main": commands.main, "tests": commands.tests}[sys.argv[1]])
