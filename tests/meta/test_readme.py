"""What the README tells a newcomer exists: commands, options, files and links."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache

import pytest

from tests.support.project import ROOT, project_files
from tests.support.readme import README, command_blocks, two_commands

_THANE = re.compile(r"\buv run thane (.+?)(?= \||$)")
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)")


def thane_commands() -> list[str]:
    commands = [
        found.strip()
        for block in command_blocks(README.read_text(encoding="utf-8"))
        for line in block
        for found in _THANE.findall(line)
    ]
    return list(dict.fromkeys(commands))


@cache
def help_of(*words: str) -> str:
    """The help text of a command, which must exist."""
    done = subprocess.run(
        [sys.executable, "-m", "thane", *words, "--help"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"`thane {' '.join(words)}` does not exist:\n{done.stderr}"
    return done.stdout


def test_the_two_commands_are_what_the_project_promises() -> None:
    commands = two_commands(README.read_text(encoding="utf-8"))
    assert commands.main == "uv run thane run examples/report.py"
    assert commands.tests == "uv run pytest"


def test_uv_is_installed_as_the_fresh_debian_does_it() -> None:
    assert ["sudo apt install pipx && pipx install uv"] in command_blocks(README.read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", thane_commands())
def test_a_command_of_the_readme_exists_with_its_options(command: str) -> None:
    words = shlex.split(command)
    path = [words[0]]
    if len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]) and words[0] in {"keys", "config"}:
        path.append(words[1])
    text = help_of(*path)
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(option)}\b", text), (
            f"`thane {' '.join(path)}` has no {option}"
        )


def test_the_files_that_the_readme_names_exist() -> None:
    named = re.findall(r"\bexamples/\w+\.py\b", README.read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_links_between_documents_lead_somewhere() -> None:
    checked, broken = 0, []
    for page in (path for path in project_files() if path.suffix == ".md"):
        for target in _LINK.findall(page.read_text(encoding="utf-8")):
            checked += 1
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert checked >= 5
    assert broken == []


def test_commands_are_read_from_sh_blocks_without_their_comments() -> None:
    text = (
        "```python\nuv run thane run nothing\n```\n"
        "```sh\nuv run thane run a.py --env 'A=#1' \\\n  --json   # main\n"
        "\n# only a comment\nuv run pytest -q\n```\n"
    )
    assert command_blocks(text) == [["uv run thane run a.py --env 'A=#1' --json", "uv run pytest -q"]]
    assert two_commands(text).tests == "uv run pytest -q"


def test_a_readme_without_the_two_commands_is_refused() -> None:
    with pytest.raises(ValueError, match="no fenced `sh` block"):
        two_commands("```sh\nuv run pytest\n```\n")
