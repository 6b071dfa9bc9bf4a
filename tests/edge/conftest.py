"""How many come at one time: `just crowds` brings more than the default run."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--crowd", type=int, default=1000, help="idle connections that are held at one time")
