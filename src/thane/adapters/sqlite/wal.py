"""Keeps the write-ahead log short: copied back in the background while commits go on.

Without it SQLite copies back inside a commit, which then takes as long as the disk does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw

from thane.adapters.sqlite.connection import AUTOCHECKPOINT_PAGES, connect
from thane.kernel.errors import ThaneError

# Pages (4 KB) in the log from which it is copied back.
WAL_CHECKPOINT_PAGES = 1024
log = logging.getLogger(__name__)


class WriteAheadLog:
    """The log behind one write connection. `exclusively` runs work with the writer at rest."""

    def __init__(
        self,
        path: Path,
        vfs: str | None,
        writer: apsw.Connection,
        exclusively: Callable[[Callable[[], None]], Awaitable[Any]],
    ) -> None:
        self.pages = 0
        self._path = path
        self._vfs = vfs
        self._writer = writer
        self._exclusively = exclusively
        self._shrinking: asyncio.Task[None] | None = None
        self._shrink_at = WAL_CHECKPOINT_PAGES
        writer.set_wal_hook(self._count)

    def _count(self, connection: apsw.Connection, name: str, pages: int) -> int:
        """Called after each commit, in its thread. The file keeps its size: only this says how full it is."""
        self.pages = pages
        if pages > AUTOCHECKPOINT_PAGES:  # the background cannot keep up
            connection.wal_checkpoint(name, apsw.SQLITE_CHECKPOINT_PASSIVE)
        return apsw.SQLITE_OK

    def bound(self) -> None:
        """Begin to copy it back, if it has grown enough; call it after commits."""
        if self.pages < WAL_CHECKPOINT_PAGES:
            self._shrink_at = WAL_CHECKPOINT_PAGES
        if self.pages >= self._shrink_at and (self._shrinking is None or self._shrinking.done()):
            self._shrinking = asyncio.get_running_loop().create_task(self._shrink())

    async def close(self) -> None:
        """Wait for what was begun."""
        if self._shrinking is not None:
            await self._shrinking

    async def _shrink(self) -> None:
        """Copy the log back while commits go on, then what came meanwhile with the writer at rest.

        Only then is all of it copied, and the next commit begins the file anew.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._copy_back)
            await self._exclusively(lambda: _checkpoint(self._writer))
        except (apsw.Error, ThaneError) as error:
            log.warning("the write-ahead log could not be copied back: %s", error)
        # If a long read held it up, it is tried again after as many pages more.
        self._shrink_at = self.pages + WAL_CHECKPOINT_PAGES

    def _copy_back(self) -> None:
        connection = connect(self._path, vfs=self._vfs)
        try:
            _checkpoint(connection)
        finally:
            connection.close()


def _checkpoint(connection: apsw.Connection) -> None:
    connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)
