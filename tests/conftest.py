"""What all tests share. `require` is re-exported for `from tests.conftest import require`."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.needs import in_ci, require, require_root

__all__ = ["in_ci", "require", "require_root"]


# A shell's background job ignores Ctrl-C and so would all that it starts; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="tests/isolation/test_soak.py at its full length")
    parser.addoption("--crashes", type=int, default=20, help="how often tests/crash kills a server (20)")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _root_where_marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("needs_root"):
        require_root()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the settings or the data folder of the person who runs it."""
    for name in list(os.environ):
        if name.startswith(("THANE_", "DATABASE_")) and name != "THANE_TEST_CI":
            monkeypatch.delenv(name)
