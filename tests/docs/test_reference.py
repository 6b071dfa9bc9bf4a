"""docs/reference is what the registry says, and nothing there says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from tests.support.program import Served
from tests.support.project import ROOT
from thane.kernel.errors import tree
from thane.kernel.settings_effect import WITHOUT_EFFECT
from thane.kernel.settings_schema import SETTINGS
from tools.reference.commands import commands
from tools.reference.pages import FOLDERS, MARK, families, pages, undocumented
from tools.registry import operations
from tools.written import stale


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The metrics of a server that has run a program."""
    server = Served(tmp_path_factory.mktemp("reference") / "data")
    sandbox = server.call("POST", "/sandboxes", {}).json["id"]
    assert server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": "print(1)"}).status == 201
    yield server.call("GET", "/metrics").body.decode()
    assert server.stop() == 0


def test_the_reference_is_up_to_date(made: dict[str, str]) -> None:
    assert stale(made, FOLDERS, ".md", MARK) == [], "run `just sdk`"


def test_everything_says_what_it_is() -> None:
    assert undocumented() == []


def test_every_operation_setting_error_and_metric_is_there(made: dict[str, str]) -> None:
    text = "\n".join(made.values())
    assert {f"## {bound.name}\n" for bound in operations()} - set(re.findall(r"## [\w.]+\n", text)) == set()
    assert [key for key in SETTINGS if f"| `{key}` |" not in text] == []
    known = {code for code, cls in tree().items() if cls.__module__.startswith("thane.")}
    assert [code for code in known if f"| `{code}` |" not in text] == []
    assert [family.name for family in families() if f"| `{family.name}` |" not in text] == []


def test_every_command_and_option_is_there(made: dict[str, str]) -> None:
    page = made["docs/reference/commands.md"]
    for command, ctx in commands():
        _, found, section = page.partition(f"## {ctx.command_path}\n")
        assert found, ctx.command_path
        options = (p.opts[0] for p in command.params if isinstance(p, click.Option))
        assert [name for name in options if f"`{name}`" not in section.partition("\n## ")[0]] == []


def test_every_setting_that_bounds_something_is_among_the_limits(made: dict[str, str]) -> None:
    page = made["docs/reference/limits.md"]
    bounds = [
        key
        for key in SETTINGS
        if (".max_" in key or key.startswith("retention.") or key.endswith(".slots"))
        and key not in WITHOUT_EFFECT
        and key != "cache.max_ttl_secs"
    ]
    assert len(bounds) >= 8
    assert [key for key in bounds if f"`{key}`" not in page] == []
    assert "| page of a list | 500 rows; 30 if not said |" in page


def test_what_says_nothing_of_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    command, ctx = next((c, x) for c, x in commands() if x.info_name == "doctor")
    monkeypatch.setattr(command, "help", None)
    monkeypatch.setattr(command.params[0], "help", None)
    assert undocumented() == ["command thane doctor", f"option thane doctor {command.params[0].opts[0]}"]
    assert ctx.parent is not None


def test_every_metric_that_a_server_shows_is_documented(made: dict[str, str], scraped: str) -> None:
    shown = set(re.findall(r"^# TYPE ((?:thane|db|cache)_\w+) ", scraped, re.MULTILINE))
    assert len(shown) >= 9
    assert [name for name in sorted(shown) if f"| `{name}` |" not in made["docs/reference/metrics.md"]] == []


def test_links_from_one_page_to_another_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []
