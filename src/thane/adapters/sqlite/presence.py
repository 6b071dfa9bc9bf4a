"""Whether the store's file is still the one that was opened, for `/health`.

A running SQLite does not notice that its file was moved away or written over: it goes on with
the pages that it knows. The file may not be opened here but through SQLite, because closing
any descriptor of it would drop the locks that this process holds on it.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from thane.adapters.sqlite.connection import connect
from thane.adapters.sqlite.trees import LOG_SHIFT
from thane.kernel.errors import Corrupt

_MAGIC = b"SQLite format 3\x00"
_HINT = "Stop Thane, put the newest backup of the store in place and start it again."


class Presence:
    """Remembers a store's file by its place on the disk and its first entry."""

    def __init__(self, path: Path, vfs: str | None) -> None:
        """The file is there."""
        self._path = path
        self._vfs = vfs
        self._place = self._where()
        self._first: bytes | None = None

    def check(self) -> None:
        """Corrupt if the file is gone, another one, or holds something else."""
        if self._where() != self._place:
            raise Corrupt(f"{self._path} is not the file that was opened", hint=_HINT)
        connection = connect(self._path, readonly=True, vfs=self._vfs)
        try:
            read, header = connection.read("main", 0, 0, len(_MAGIC))
            if not read or header != _MAGIC:
                raise Corrupt(f"{self._path} was written over: it is no SQLite file any more", hint=_HINT)
            first = connection.execute("SELECT hash FROM thane_entries WHERE id = ?", (1 << LOG_SHIFT,)).get
        except apsw.Error as error:
            raise Corrupt(f"{self._path} cannot be read any more: {error}", hint=_HINT) from error
        finally:
            connection.close()
        if self._first is not None and first != self._first:
            raise Corrupt(f"{self._path} was written over with another store", hint=_HINT)
        self._first = first

    def _where(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
