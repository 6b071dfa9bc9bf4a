"""SQLite's own tests use its engine directly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.store.faulty_vfs import FaultyVFS
from tests.store.sqlite.homes import in_folder
from tests.store.world import World, make_keys


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[World]:
    """A founded store on an ordinary disk."""
    world = in_folder(tmp_path / "store", make_keys(tmp_path / "keys"))
    await world.open()
    await world.found()
    yield world
    await world.engine.close()


@pytest.fixture
def disk() -> Iterator[FaultyVFS]:
    vfs = FaultyVFS(f"faulty-{uuid4().hex}")
    yield vfs
    vfs.unregister()
