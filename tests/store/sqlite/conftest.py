"""SQLite's own tests use its engine directly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.store.engines import SqliteUnderTest
from tests.store.faulty_vfs import FaultyVFS
from tests.store.world import SetClock, World, make_keys
from thane.adapters.sqlite import SqliteEngine
from thane.kernel.records import Engine, Registry


class OnFaultyDisk(SqliteUnderTest):
    """A store whose next opening uses this file system (None: the ordinary one)."""

    vfs: str | None = None

    async def open(self, registry: Registry) -> Engine:
        engine = SqliteEngine(self.path, registry, self.clock, vfs=self.vfs)
        await engine.open()
        return engine


def in_folder(folder: Path, keys: Path) -> World:
    """A world on an ordinary disk, not opened yet; its keys are made if they are not there."""
    clock = SetClock()
    folder.mkdir(exist_ok=True)
    return World(OnFaultyDisk(folder, clock), clock, make_keys(keys))


def engine_of(world: World) -> SqliteEngine:
    assert isinstance(world.engine, SqliteEngine)
    return world.engine


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[World]:
    """A founded store on an ordinary disk."""
    world = in_folder(tmp_path / "store", tmp_path / "keys")
    await world.open()
    await world.found()
    yield world
    await world.engine.close()


@pytest.fixture
def disk() -> Iterator[FaultyVFS]:
    vfs = FaultyVFS(f"faulty-{uuid4().hex}")
    yield vfs
    vfs.unregister()
