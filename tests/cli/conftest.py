"""One data folder for each module of these tests, and what most of them ask."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that is not there yet."""
    return tmp_path_factory.mktemp("thane") / "data"
