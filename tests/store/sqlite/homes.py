"""Stores of SQLite in folders that a test can damage, copy and open again."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import apsw

from tests.store.engines import SqliteUnderTest
from tests.store.world import SetClock, World
from thane.adapters.sqlite import SqliteEngine
from thane.kernel.records import Engine, Registry
from thane.kernel.sealing.keyring import KeyFolder


class OnFaultyDisk(SqliteUnderTest):
    """A store whose next opening uses this file system (None: the ordinary one)."""

    vfs: str | None = None

    async def open(self, registry: Registry) -> Engine:
        engine = SqliteEngine(self.path, registry, self.clock, vfs=self.vfs)
        await engine.open()
        return engine


def in_folder(folder: Path, keys: KeyFolder, vfs: str | None = None) -> World:
    """A world in this folder, not opened yet."""
    clock = SetClock()
    folder.mkdir(exist_ok=True)
    under = OnFaultyDisk(folder, clock)
    under.vfs = vfs
    return World(under, clock, keys)


def like(template: World, folder: Path, vfs: str | None = None) -> World:
    """A world in a folder to which the files of `template` are copied, as if it had lost power now.

    The shared memory file is left behind: it does not survive a machine.
    """
    copy = in_folder(folder, template.keys, vfs)
    for file in template.under.folder.iterdir():
        if not file.name.endswith("-shm"):
            shutil.copyfile(file, folder / file.name)
    copy.a, copy.b, copy.users = template.a, template.b, dict(template.users)
    return copy


def engine_of(world: World) -> SqliteEngine:
    assert isinstance(world.engine, SqliteEngine)
    return world.engine


async def abandon(world: World) -> None:
    """Let go of a store whose disk is dead; whatever fails then has failed before."""
    engine = engine_of(world)
    await engine._committer.close()
    await engine.wal.close()
    for connection in [engine._writer.connection, engine._reader._inline.connection, *engine._reader._pooled]:
        with contextlib.suppress(apsw.Error):
            connection.close(True)
    engine._reader._pool.shutdown(wait=True)
