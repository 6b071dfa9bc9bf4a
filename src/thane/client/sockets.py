"""A unix socket's path may have 107 bytes; a longer one is opened through its folder's descriptor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LONGEST_PATH: Final = 107


@contextlib.contextmanager
def short_path(path: str) -> Iterator[str]:
    """A name of `path` that fits into a socket's address, valid inside the block."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield path
        return
    whole = Path(path)
    descriptor = os.open(whole.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{whole.name}"
    finally:
        os.close(descriptor)
