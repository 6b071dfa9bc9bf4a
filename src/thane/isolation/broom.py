"""Remove a folder that a hostile program has filled, however deep it nested it.

The standard library's `rmtree` goes as deep as the folders do, and gives up. Here each
folder is first moved up beside the others, so that no path gets long. Links are
removed, never followed.
"""

from __future__ import annotations

import os

_OWN = 0o700


def remove_tree(path: str) -> None:
    """Remove `path` and all below. Raises OSError if something cannot be removed."""
    count = 0
    waiting, emptied = [path], []
    while waiting:
        folder = waiting.pop()
        os.chmod(folder, _OWN)
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in found:
            inside = f"{folder}/{name}"
            if not is_folder:
                os.unlink(inside)
            elif folder == path:
                waiting.append(inside)
            else:
                os.chmod(inside, _OWN)  # to move a folder its own `..` is written
                count += 1
                moved = f"{path}/moved-{os.getpid()}-{count}"
                os.rename(inside, moved)
                waiting.append(moved)
        emptied.append(folder)
    for folder in reversed(emptied):
        os.rmdir(folder)
