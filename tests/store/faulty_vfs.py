"""A file system for SQLite that fails on purpose: at the n-th write or sync, in one of several ways.

It stands below SQLite and above the real files, so everything that was written before the
fault is really there. After a *tear* the program counts as dead: nothing is written any
more, until the test has copied the files and revives the disk to open the copy.

Syncs are counted and not done, since no test pulls the plug. What one would find then,
each file as it was at its last sync, is remembered in `synced`.
"""

from __future__ import annotations

import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import Any

import apsw


class Fault(StrEnum):
    NONE = "none"
    FAIL_WRITE = "fail_write"  # the n-th write, and no other, answers with an I/O error
    FAIL_SYNC = "fail_sync"  # the n-th sync, and no other
    FULL = "full"  # from the n-th write on the disk is full, until `relieve`
    TEAR = "tear"  # half of the n-th write arrives, then nothing ever again
    DIE_SYNC = "die_sync"  # the n-th sync does not come back, then nothing ever again
    DELAY = "delay"  # every write takes a while


class FaultyVFS(apsw.VFS):
    """Registered under `name`; open a store with `vfs=name`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault = Fault.NONE
        self.left = 0
        self.writes = 0
        self.syncs = 0
        self.is_dead = False
        self.delay = 0.0
        self.synced: dict[str, bytes] = {}
        self._lock = threading.Lock()
        super().__init__(name, "unix")

    def xOpen(self, name: Any, flags: list[int]) -> FaultyFile:  # noqa: N802
        return FaultyFile(self, name, flags)

    def arm(self, fault: Fault, at: int = 1, delay: float = 0.0) -> None:
        """The `at`-th call from now on (counted from 1) has the fault."""
        with self._lock:
            self.fault, self.left, self.delay, self.writes, self.syncs = fault, at, delay, 0, 0

    def relieve(self) -> None:
        """The disk works again."""
        self.is_dead = False
        self.arm(Fault.NONE)

    def before_write(self) -> float | None:
        """What part of a write is to arrive; raises apsw's error for a fault. None: all of it."""
        with self._lock:
            if self.is_dead:
                raise apsw.IOError("the program is dead")
            self.writes += 1
            if self.fault is Fault.DELAY:
                time.sleep(self.delay)
            if self.fault not in (Fault.FAIL_WRITE, Fault.FULL, Fault.TEAR):
                return None
            self.left -= 1
            if self.fault is Fault.FULL:
                if self.left < 1:
                    raise apsw.FullError("no space left, on purpose")
            elif self.left == 0:
                if self.fault is Fault.FAIL_WRITE:
                    raise apsw.IOError("a write failed, on purpose")
                self.is_dead = True
                return 0.5
            return None

    def before_sync(self) -> None:
        with self._lock:
            if self.is_dead:
                raise apsw.IOError("the program is dead")
            self.syncs += 1
            if self.fault in (Fault.FAIL_SYNC, Fault.DIE_SYNC):
                self.left -= 1
                if self.left == 0:
                    self.is_dead = self.fault is Fault.DIE_SYNC
                    raise apsw.IOError("a sync failed, on purpose")


class FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVFS, name: Any, flags: list[int]) -> None:
        self._vfs = vfs
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("unix", name, flags)
        if self._path not in vfs.synced:
            vfs.synced[self._path] = Path(self._path).read_bytes()

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        part = self._vfs.before_write()
        if part is not None:
            super().xWrite(data[: int(len(data) * part)], offset)
            raise apsw.IOError("torn, on purpose")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.before_sync()
        self._vfs.synced[self._path] = Path(self._path).read_bytes()

    def xTruncate(self, size: int) -> None:  # noqa: N802
        if self._vfs.is_dead:
            raise apsw.IOError("the program is dead")
        super().xTruncate(size)
