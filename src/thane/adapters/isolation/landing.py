"""Put files that came out of a jail below a folder, and nowhere else.

The names were checked by the program and are checked again here: a link that lies in
the folder already must not lead a file out of it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Landing:
    """Open files below `into`, one after the other."""

    def __init__(self, into: Path) -> None:
        into.mkdir(parents=True, exist_ok=True)
        self._root = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def create(self, name: str) -> int:
        """A descriptor to write `name` to, replacing an older file. Raises ValueError, OSError."""
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise ValueError(f"{name!r} is not a plain relative path")
        folder = os.dup(self._root)
        try:
            for part in parts[:-1]:
                with contextlib.suppress(FileExistsError):  # what it is, the next line finds out
                    os.mkdir(part, dir_fd=folder)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                below = os.open(part, flags, dir_fd=folder)
                os.close(folder)
                folder = below
            with contextlib.suppress(FileNotFoundError):
                os.unlink(parts[-1], dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            return os.open(parts[-1], flags, 0o644, dir_fd=folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        os.close(self._root)
