"""Small and read-only disks, as only root can make them, and what fills and frees them."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

PIECE = 4096


@contextlib.contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """A memory file system of that size, for as long as the context lasts."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        _unmount(at)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder cannot be written, not even by root, for as long as the context lasts."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        _unmount(folder)


def _unmount(at: Path) -> None:
    # Lazily: a process that a failed test has left behind must not keep the mount in place.
    subprocess.run(["umount", "--lazy", str(at)], check=True)


class Filler:
    """A file that takes all the space that is left."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"

    def fill(self) -> None:
        """Write until the disk is full."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while True:
                os.write(fd, bytes(PIECE))
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
        finally:
            os.close(fd)

    def free(self) -> None:
        self._path.unlink(missing_ok=True)
