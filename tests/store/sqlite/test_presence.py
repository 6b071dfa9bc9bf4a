"""A store that is moved away or written over under its owner is noticed, and nobody else may read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.maintenance.house import Home
from thane.kernel.errors import Corrupt


async def test_a_store_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    async with Home(tmp_path / "data") as home:
        await home.sandbox("one")
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600, name
    (tmp_path / "data" / "store.db").chmod(0o644)  # as earlier versions left it
    async with Home(tmp_path / "data"):
        assert (tmp_path / "data" / "store.db").stat().st_mode & 0o777 == 0o600


async def test_health_tells_of_a_store_that_was_moved_away(tmp_path: Path) -> None:
    async with Home(tmp_path / "data") as home:
        await home.engine.check()
        store = tmp_path / "data" / "store.db"
        store.rename(tmp_path / "elsewhere")
        with pytest.raises(Corrupt, match="not the file that was opened"):
            await home.engine.check()
        (tmp_path / "elsewhere").rename(store)
        await home.engine.check()


async def test_health_tells_of_a_store_that_was_written_over(tmp_path: Path) -> None:
    async with Home(tmp_path / "data") as home:
        store = tmp_path / "data" / "store.db"
        await home.engine.check()
        sound = store.read_bytes()
        with store.open("r+b") as file:
            file.write(b"x" * 8192)
        with pytest.raises(Corrupt):
            await home.engine.check()
        with store.open("r+b") as file:
            file.write(sound)
        await home.engine.check()


async def test_health_tells_of_another_store_in_its_place(tmp_path: Path) -> None:
    async with Home(tmp_path / "other"):
        pass
    async with Home(tmp_path / "data"):
        pass
    async with Home(tmp_path / "data") as home:
        await home.engine.check()
        store = tmp_path / "data" / "store.db"
        sound = store.read_bytes()
        with store.open("r+b") as file:
            file.write((tmp_path / "other" / "store.db").read_bytes())
        with pytest.raises(Corrupt):
            await home.engine.check()
        with store.open("r+b") as file:
            file.write(sound)
    shutil.rmtree(tmp_path / "other")
