"""What a test needs and may not have: a visible skip on a person's machine, a failure in CI."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest


def in_ci(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `.ci/run` runs the tests, or another CI does."""
    return any(environment.get(name, "") not in ("", "0", "false") for name in ("THANE_TEST_CI", "CI"))


def require(there: object, what: str, *, get: str) -> None:
    """Goes on if `there` is true. Else skips the test, or fails it in CI.

    `what` names what is missing (`PostgreSQL`), `get` the command that brings it
    (`uv sync --group servers`); both stand in the reason.
    """
    if there:
        return
    reason = f"needs {what}: run `{get}`"
    if in_ci():
        pytest.fail(f"{reason} (in CI it must be there)", pytrace=False)
    pytest.skip(reason)


def require_root() -> None:
    """For tests that mount, kill other users' processes or make cgroups."""
    require(os.geteuid() == 0, "the rights of root", get="sudo --preserve-env=PATH uv run pytest")
