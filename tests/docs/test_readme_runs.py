"""The README, typed in as a newcomer types it: every command runs, and so does the Python."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import SERVE, Page, Session
from tests.support.needs import require
from tests.support.project import ROOT

# What each ends with that is meant to fail.
CODES = {"too_slow.py": 124, "eats_memory.py": 137}
# The installation of uv and the tests themselves are the business of `just fresh`.
LEFT_OUT = ("sudo apt install", "uv run pytest")


def as_typed(text: str) -> str:
    """The README with the program of this environment, the test's port, and the codes of what fails."""
    lines = []
    for line in text.splitlines():
        if line.startswith(LEFT_OUT):
            line = ":"
        typed = line.replace("uv run thane", "thane").replace("http://127.0.0.1:8090", "$THANE_URL")
        typed = SERVE if typed.startswith(SERVE) else typed
        code = next((code for name, code in CODES.items() if f"examples/{name}" in typed), None)
        lines.append(typed if code is None else f"{typed.partition('#')[0]} || test $? = {code}")
    return "\n".join(lines) + "\n"


def test_the_readme_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require(shutil.which("curl"), "curl", get="apt install curl")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copytree(ROOT / "examples", clone / "examples")
    shutil.copy(ROOT / "README.md", clone)
    page = tmp_path / "README.md"
    page.write_text(as_typed(text), encoding="utf-8")
    session = Session(tmp_path)
    try:
        ran = Page(page, clone, os.environ, session).run()
    finally:
        session.stop()
    assert ran == len(re.findall(r"^```(?:sh|python)$", text, re.MULTILINE)) >= 6
    assert {p.name for p in (clone / "results").iterdir()} == {"report.csv", "report.svg"}


def test_what_is_typed_is_what_is_told() -> None:
    told = "uv run thane run examples/too_slow.py --timeout 5   # x\nuv run pytest\nuv run thane serve\n"
    assert as_typed(told).splitlines() == [
        "thane run examples/too_slow.py --timeout 5    || test $? = 124",
        ":",
        SERVE,
    ]
