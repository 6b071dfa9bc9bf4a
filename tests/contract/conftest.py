"""How deep schemathesis digs: `just schemathesis` gives it more examples than the default run."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, default=0, help="examples of schemathesis per operation")
