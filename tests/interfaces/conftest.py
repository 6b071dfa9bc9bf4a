"""The house of the operations' tests, with the HTTP host in front."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.interfaces.web import Web
from tests.kernel.operations.house import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = await House.build(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def web(house: House) -> Web:
    return Web(house)
