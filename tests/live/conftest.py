"""A server for the tests of live views, and writers in processes of their own."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Served

WRITER = Path(__file__).with_name("writer.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("live") / "data")
    yield made
    assert made.stop() == 0, made.log.read_text()


@pytest.fixture
def many_files() -> None:
    """A thousand sockets are more than the usual limit of open files allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Writing:
    """A writer at work; `figures` once it has ended."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}


@asynccontextmanager
async def writing(
    server: Served, name: str, *, connections: int = 1, kilobytes: int = 0
) -> AsyncIterator[Writing]:
    """A process that writes for the time of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), server.host, str(server.port), server.key, name,
        str(connections), str(kilobytes),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 26,
    )  # fmt: skip
    made = Writing()
    try:
        yield made
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            out, _ = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0
        made.figures.update(json.loads(out))


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
