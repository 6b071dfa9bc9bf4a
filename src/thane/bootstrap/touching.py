"""A copy of a data folder in which a row and its entry have been changed by hand. See `thane demo`."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from thane.adapters.disk import DataFolder
from thane.adapters.sqlite.touching import copy_store, touch_hash, touch_leaf, touch_row
from thane.interfaces.cli.launcher import LeafTouch, RowTouch, Touch


class TouchedCopy:
    """Implements the command line's `Copy`."""

    def __init__(self, folder: DataFolder) -> None:
        self.data = folder.path
        self._store = folder.store

    @classmethod
    async def of(cls, folder: DataFolder, into: Path) -> TouchedCopy:
        """Copy store and keys (whoever has the one may have the other) to `into`, which must not exist."""
        made = DataFolder(into)
        made.make()
        await asyncio.to_thread(shutil.copytree, folder.keys, made.keys)
        await asyncio.to_thread(copy_store, folder.store, made.store)
        return cls(made)

    async def touch(self, what: Touch) -> str:
        if isinstance(what, RowTouch):
            return await asyncio.to_thread(touch_row, self._store, *what)
        if isinstance(what, LeafTouch):
            return await asyncio.to_thread(touch_leaf, self._store, *what)
        return await asyncio.to_thread(touch_hash, self._store, *what)
