"""A small house with real parts: SQLite store, keys, ledger, pipeline; two tiny domains in `notes.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kernel.operations.house import House


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = await House.build(tmp_path)
    yield made
    await made.close()
