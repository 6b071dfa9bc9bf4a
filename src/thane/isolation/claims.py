"""Whose a folder is: a program holds a lock on every folder that it made; what nobody holds is left over.

Names cannot tell: programs of several containers share a host's control groups, and each
sees other process ids. The kernel drops a lock when its holder ends, however it ends.
Nothing is removed here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator

NAME = "thane-isolation"
_MADE_BY_A_PROGRAM = re.compile(re.escape(NAME) + r"-\d+-\w+")
_ATTEMPTS = 50
_PAUSE = 0.02


def name_of_this_program() -> str:
    """`thane-isolation-PID-RANDOM`: for people; and nobody else makes a folder of that name."""
    return f"{NAME}-{os.getpid()}-{os.urandom(4).hex()}"


def make(path: str) -> None:
    """Make the folder and hold it until this process ends. Raises OSError."""
    for _ in range(_ATTEMPTS):
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            time.sleep(_PAUSE)
            continue
        # A starter that looks in this very moment takes it for left over, and removes it.
        descriptor = _take(path)
        if descriptor is not None:
            if _is_still(path, descriptor):
                _held.append(descriptor)
                return
            os.close(descriptor)
    raise FileExistsError(errno.EEXIST, "another program has it, or removes it again and again", path)


def left_over(parent: str) -> Iterator[str]:
    """Folders in `parent` whose program is dead, each held while the caller works on it."""
    with os.scandir(parent) as found:
        entries = [entry for entry in found if _MADE_BY_A_PROGRAM.match(entry.name)]
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            continue
        descriptor = _take(entry.path)
        if descriptor is None:
            continue
        try:
            yield entry.path
        finally:
            os.close(descriptor)


def _take(path: str) -> int | None:
    """A descriptor that holds the folder; None if somebody else does, or it is gone or another user's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_still(path: str, descriptor: int) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


_held: list[int] = []
