"""docs/live.md: every command in it does what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.needs import require
from tests.support.program import PROGRAM, Served, environment, eventually
from tests.support.project import ROOT

PAGE = ROOT / "docs" / "live.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:\n<!-- shows: (.*?) -->)?", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    command: str
    shows: tuple[str, ...]


BLOCKS = [
    Block(command, tuple(shows.split(" | ")) if shows else ())
    for command, shows in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
]


@pytest.fixture(scope="module")
def execution(server: Served) -> str:
    sandbox = server.call("POST", "/sandboxes", {"name": "printing"}).json["id"]
    done = server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": "print('hello')"})
    made: str = done.json["id"]
    return made


def test_the_page_has_its_examples() -> None:
    assert len(BLOCKS) >= 7
    assert [b.command for b in BLOCKS if not b.shows] == [BLOCKS[0].command], (
        "all but the first show something"
    )


@pytest.mark.parametrize("block", BLOCKS[1:], ids=range(1, len(BLOCKS)))
def test_a_command_shows_what_the_page_says(
    server: Served, execution: str, block: Block, tmp_path: Path
) -> None:
    require(shutil.which("curl"), "curl", get="apt install curl")
    given = {
        "URL": server.url,
        "KEY": server.key,
        "EXECUTION": execution,
        "DATA": str(server.data),
        "PATH": f"{_with_thane(tmp_path)}:{os.environ['PATH']}",
    }
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-euc", f"exec {block.command}"], env=environment(**given), stdout=file, stderr=file
        )
    try:
        eventually(
            lambda: "ready" in output.read_text() or "INDEX" in output.read_text(), "the beginning", 20
        )

        def shown() -> bool:
            made = server.call("POST", "/sandboxes", {"name": "report"}).json["id"]
            server.call("POST", f"/sandboxes/{made}/terminate", {})
            text = output.read_text()
            return all(words in text for words in block.shows)

        eventually(shown, f"{block.shows} in {output.read_text()}", 20)
    finally:
        process.kill()
        process.wait(20)


def _with_thane(folder: Path) -> Path:
    """A folder with the command `thane` in it, whatever is installed."""
    made = folder / "bin"
    made.mkdir()
    (made / "thane").write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    (made / "thane").chmod(0o755)
    return made
