"""Files into a workspace that a hostile program may be changing meanwhile.

Each folder on the way is opened without following links, below the one before; a new file
takes an older one's place when it is whole. The mirror image of `collection`.
"""

from __future__ import annotations

import contextlib
import os

from thane.isolation import libc, opening
from thane.isolation.collection import Fingerprint

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def _enter(folder: int, name: str, owner: int | None) -> int:
    """The folder `name` in `folder`, made if it is not there."""
    made = False
    with contextlib.suppress(FileExistsError):  # what it is, the next line finds out
        os.mkdir(name, 0o755, dir_fd=folder)
        made = True
    below = libc.openat2(folder, os.fsencode(name), _FOLDER, opening.INSIDE)
    if made and owner is not None:
        os.fchown(below, owner, owner)
    return below


def _write(name: str, folder: int, content: bytes, owner: int | None) -> os.stat_result:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        if owner is not None:
            os.fchown(file, owner, owner)
        return os.fstat(file)
    finally:
        os.close(file)


def put(workspace: str, name: str, content: bytes, owner: int | None) -> Fingerprint:
    """Write one file; answers what it looks like. The name was checked. Raises OSError."""
    *folders, last = name.split("/")
    folder = os.open(workspace, _FOLDER | os.O_CLOEXEC)
    try:
        for part in folders:
            below = _enter(folder, part, owner)
            os.close(folder)
            folder = below
        part = f".{os.urandom(8).hex()}.part"
        try:
            status = _write(part, folder, content, owner)
            os.rename(part, last, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)
            raise
    finally:
        os.close(folder)
    return status.st_ino, status.st_size, status.st_mtime_ns
