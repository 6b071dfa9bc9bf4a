"""Every example of the documentation runs and prints what the page says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import Page, Session, agrees, blocks
from tests.support.project import ROOT

DOCS = ROOT / "docs"
PAGES = [DOCS / "quickstart.md", DOCS / "concepts.md", *sorted((DOCS / "guides").glob("*.md"))]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    made = Session(tmp_path_factory.mktemp("docs"))
    yield made
    made.stop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_does_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    assert Page(page, tmp_path, os.environ, session).run() >= 4


def test_no_page_has_an_example_that_nobody_runs() -> None:
    # docs/live.md has a test of its own (tests/live/test_docs.py); the reference shows usage and JSON.
    run = {*PAGES, DOCS / "live.md"}
    silent = [
        page.relative_to(DOCS).as_posix()
        for page in sorted(DOCS.rglob("*.md"))
        if page not in run and page.parts[len(DOCS.parts)] not in ("reference", "adr")
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language in ("sh", "bash", "python", "console", "shell")
    ]
    assert silent == []


def test_what_a_page_expects_is_compared() -> None:
    assert agrees("a … c\n", "a  b\nc")
    assert agrees("…x…", "1x")
    assert not agrees("a\n", "a b\n")
    assert not agrees("a … c", "a b")
    assert [block.language for block in blocks("x\n```sh\ny\n```\n\n```text\nz\n```\n")] == ["sh", "text"]


def test_a_page_that_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    for wrong in ("```python\nprint(1)\n```\n```text\n2\n```\n", "```sh\nfalse\n```\n", "```rust\nx\n```\n"):
        page.write_text(wrong)
        with pytest.raises(AssertionError):
            Page(page, tmp_path, {}, Session(tmp_path)).run()
