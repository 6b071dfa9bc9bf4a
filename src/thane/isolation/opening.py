"""Open what lies in a folder that a hostile program has filled, and may be changing.

The kernel resolves every path beneath the folder and follows no link. What the program has
closed to its own user, who is ours where nothing can be mounted, is opened to him again.
"""

from __future__ import annotations

import os
import stat

from thane.isolation import libc

# How paths are resolved: beneath the folder, over no link.
INSIDE = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def folder_beneath(root: int, path: bytes) -> int:
    """A descriptor to list a folder by. Raises OSError."""
    return _open(root, path, _FOLDER, stat.S_IFDIR, 0o700)


def file_beneath(root: int, path: bytes) -> int:
    """A descriptor to read a file by; never waits for a pipe's other end. Raises OSError."""
    return _open(root, path, _FILE, stat.S_IFREG, 0o600)


def _open(root: int, path: bytes, flags: int, kind: int, mode: int) -> int:
    try:
        return libc.openat2(root, path, flags, INSIDE)
    except PermissionError:
        held = libc.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, INSIDE)
        try:
            if stat.S_IFMT(os.fstat(held).st_mode) != kind:
                raise
            os.chmod(f"/proc/self/fd/{held}", mode)
        finally:
            os.close(held)
        return libc.openat2(root, path, flags, INSIDE)
