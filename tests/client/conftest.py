"""One server for all tests of the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.proxy import Proxy
from tests.support.program import Served


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("client") / "data")
    yield made
    assert made.stop() == 0, made.log.read_text()


@pytest.fixture
def proxy(server: Served) -> Iterator[Proxy]:
    with Proxy(server.host, server.port) as made:
        yield made
