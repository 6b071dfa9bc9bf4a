"""A missing server is a visible skip on a person's machine and a failure in CI."""

from __future__ import annotations

import pytest
from _pytest.outcomes import Failed, Skipped

from tests.conftest import in_ci, require

WHAT = r"needs PostgreSQL: run `uv sync --group servers`"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("CI", "THANE_TEST_CI"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_what_is_there_lets_the_test_go_on(machine: pytest.MonkeyPatch) -> None:
    require("a server", "PostgreSQL", get="uv sync --group servers")


def test_on_a_machine_the_skip_says_which_command_brings_it(machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(Skipped, match=WHAT):
        require(None, "PostgreSQL", get="uv sync --group servers")


@pytest.mark.parametrize("name", ["CI", "THANE_TEST_CI"])
def test_in_ci_it_fails(machine: pytest.MonkeyPatch, name: str) -> None:
    machine.setenv(name, "1")
    with pytest.raises(Failed, match=WHAT):
        require(None, "PostgreSQL", get="uv sync --group servers")


def test_ci_switched_off_is_not_ci() -> None:
    assert not in_ci({"CI": "false", "THANE_TEST_CI": "0"})
    assert in_ci({"CI": "true"})
