"""Files that executions produced, on this host's disk: kept for a day, by execution.

They come out of the jail through the isolation port, which copies regular files only.
Names are checked again when they are read, because a name comes from the caller.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from thane.domains.sandboxes.errors import FileNotProduced
from thane.kernel.ids import is_id

KEEP_SECONDS = 86_400


class Artifacts:
    """A folder of folders, one for each execution that produced files."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def place(self, execution_id: str) -> Path:
        """Where an execution's files go; made if it is not there."""
        if not is_id(execution_id, "exe"):
            raise ValueError(f"{execution_id!r} is no execution's id")
        folder = self._root / execution_id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def discard_if_empty(self, execution_id: str) -> None:
        folder = self._root / execution_id
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def read(self, execution_id: str, name: str) -> bytes:
        """One file's bytes; FileNotProduced for anything that is not a file below the execution's folder."""
        missing = FileNotProduced(f"{execution_id} has no file {name!r}")
        if not is_id(execution_id, "exe") or "\0" in name:
            raise missing
        folder = (self._root / execution_id).resolve()
        try:
            found = (folder / name).resolve()
            if not found.is_relative_to(folder) or not found.is_file():
                raise missing
            return found.read_bytes()
        except OSError as fault:  # such as a name that is longer than any file's
            raise missing from fault

    def sweep(self) -> int:
        """Remove what is older than a day; how many."""
        if not self._root.is_dir():
            return 0
        limit, gone = time.time() - KEEP_SECONDS, 0
        for folder in self._root.iterdir():
            if folder.is_dir() and folder.stat().st_mtime < limit:
                shutil.rmtree(folder)
                gone += 1
        return gone
