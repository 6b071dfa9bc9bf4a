"""Files out of a workspace that a hostile program has filled.

Every path is resolved by the kernel beneath the workspace, without links; only regular
files with one link and a believable size come out. Refusals are told, never skipped
silently. This module reads; who may have the files is the caller's affair.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from itertools import islice

from thane.isolation import opening
from thane.isolation.request import MAX_FILES, check_name

_MAX_DEPTH = 32
# Bytes of JSON: all names, and all refusals, travel in the verdict's one header, which has a limit.
_MOST_NAMES = _MOST_REFUSALS = 256 << 10
_MOST_SHOWN = 200
# Looking holds everybody else up, and in a living sandbox it is done after each execution.
_MOST_LOOKED_AT = 5_000
_KINDS = {
    stat.S_IFLNK: "it is a symbolic link",
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}

Fingerprint = tuple[int, int, int]  # inode, size, time of change


@dataclass
class Found:
    files: list[tuple[str, int]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    names: int = 0  # bytes of JSON of the files' names
    refusals: int = 0
    left_out: int = 0  # files, and refusals, that had no room in these lists
    cut: bool = False  # there is more that was not looked at

    def refuse(self, path: str, reason: str) -> None:
        entry = (_shown(path), reason)
        size = len(json.dumps(entry))
        if self.refusals + size > _MOST_REFUSALS or len(self.refused) >= MAX_FILES:
            self.left_out += 1
            return
        self.refusals += size
        self.refused.append(entry)

    def keep(self, path: str, size: int) -> None:
        """Take a file, if there is room for it."""
        names = self.names + len(json.dumps(path))
        if len(self.files) >= MAX_FILES or names > _MOST_NAMES:
            self.left_out += 1
        else:
            self.names = names
            self.files.append((path, size))

    def sort(self) -> None:
        self.files.sort()
        self.refused.sort()
        if self.cut:
            reason = f"more than {_MOST_LOOKED_AT} files and folders; put them into an archive"
            self.refused.append(("", f"the rest was not looked at: {reason}"))


def fingerprint(path: str) -> Fingerprint:
    status = os.stat(path, follow_symlinks=False)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _shown(name: str) -> str:
    """The name as text that may be printed: what is not UTF-8 or moves a terminal's cursor is escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"


def _refusal(name: str, status: os.stat_result, limit: int) -> str | None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        return _KINDS.get(kind, "it is not a regular file")
    if status.st_nlink != 1:
        return "it has more than one hard link"
    if status.st_size > limit:
        return f"it says it is {status.st_size} bytes long, and the disk limit is {limit}"
    return check_name(name)


def scan(workspace: str, unchanged: dict[str, Fingerprint], limit: int) -> Found:
    """What the program left, without the input files that it did not touch. Sorted by name."""
    found = Found()
    total = looked_at = 0
    root = os.open(workspace, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    waiting = [("", 0)]
    try:
        while waiting:
            folder, depth = waiting.pop()
            try:
                entries = _list(root, folder, _MOST_LOOKED_AT - looked_at)
            except OSError as error:
                found.refuse(folder, f"the folder cannot be read ({error.strerror})")
                continue
            looked_at += len(entries)
            for name, status in entries:
                path = f"{folder}/{name}" if folder else name
                if stat.S_ISDIR(status.st_mode):
                    if depth < _MAX_DEPTH:
                        waiting.append((path, depth + 1))
                    else:
                        found.refuse(path, f"it lies deeper than {_MAX_DEPTH} folders")
                    continue
                if unchanged.get(path) == (status.st_ino, status.st_size, status.st_mtime_ns):
                    continue
                reason = _refusal(path, status, min(limit, limit - total))
                if reason is None:
                    total += status.st_size
                    found.keep(path, status.st_size)
                else:
                    found.refuse(path, reason)
            if looked_at == _MOST_LOOKED_AT:
                found.cut = True
                break
    finally:
        os.close(root)
    found.sort()
    return found


def _list(root: int, folder: str, most: int) -> list[tuple[str, os.stat_result]]:
    descriptor = opening.folder_beneath(root, os.fsencode(folder) or b".")
    try:
        with os.scandir(descriptor) as entries:
            return [(entry.name, entry.stat(follow_symlinks=False)) for entry in islice(entries, most)]
    finally:
        os.close(descriptor)


def open_file(workspace: str, name: str, limit: int) -> int:
    """A descriptor to read one file that `scan` has listed. Raises OSError if it is not what it was."""
    root = os.open(workspace, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = opening.file_beneath(root, os.fsencode(name))
    finally:
        os.close(root)
    reason = _refusal(name, os.fstat(descriptor), limit)
    if reason is not None:
        os.close(descriptor)
        raise OSError(f"{name}: {reason}")
    return descriptor
