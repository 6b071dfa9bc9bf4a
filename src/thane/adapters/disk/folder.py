"""The data folder: its layout, its modes, and the lock that gives it one owner.

    .thane/            mode 0700
      .gitignore       everything in it
      store.db         the embedded store
      keys/            the key folder, apart from the store
      spool/           outcomes that could not be committed yet
      artifacts/       files that executions produced, for a day
      owner.lock       locked by the owner; names its pid and start time
      thane.sock       the owner's socket
      isolation.sock   the isolation program's, and its log

The lock is the kernel's: it ends with the process, however that ends, so a dead owner
never has to be guessed. What the file says is for people.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import msgspec

from thane.kernel.errors import FolderInUse, StorageFull, TransactionFailed


class Owner(msgspec.Struct, frozen=True):
    """Who holds the lock. `started` is the process's start time in clock ticks since boot."""

    pid: int
    started: int


class DataFolder:
    """Paths below one data folder. Making the object touches nothing."""

    def __init__(self, path: Path, *, store: Path | None = None) -> None:
        """`store`: the store's file, if it lies elsewhere than in the folder."""
        self.path = path.absolute()
        self.store = store or self.path / "store.db"
        self.keys = self.path / "keys"
        self.spool = self.path / "spool"
        self.artifacts = self.path / "artifacts"
        self.lock_file = self.path / "owner.lock"
        self.socket = self.path / "thane.sock"
        self.isolation_socket = self.path / "isolation.sock"
        self.isolation_log = self.path / "isolation.log"
        self.local_key = self.keys / "local-key"
        self._locks: list[int] = []

    @property
    def exists(self) -> bool:
        """Whether a store lies there; a clear error where one may not even look."""
        try:
            return self.store.exists()
        except OSError as fault:
            raise _refused(self.path, fault) from fault

    def make(self) -> None:
        """Make what is missing; a clear error where the disk refuses."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                self.path.chmod(0o700)
            for folder in (self.spool, self.artifacts):
                folder.mkdir(exist_ok=True, mode=0o700)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("# Made by Thane: nothing in here belongs into a repository.\n*\n")
        except OSError as fault:
            raise _refused(self.path, fault) from fault

    def lock(self) -> None:
        """Become the owner; FolderInUse names who is."""
        try:
            self._lock(self.lock_file)
            if self.store.parent != self.path:
                # Another data folder may name the same store: whoever has the store is its one owner.
                self._lock(self.store.with_name(f"{self.store.name}.owner.lock"))
        except BaseException:
            self.unlock()
            raise

    def _lock(self, path: Path) -> None:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise _refused(path.parent, fault) from fault
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            owner = _owner(path)
            who = "another process" if owner is None else f"process {owner.pid}"
            raise FolderInUse(f"{path.parent} belongs to {who}, which is still running") from None
        self._locks.append(fd)
        try:
            os.ftruncate(fd, 0)
            os.write(fd, msgspec.json.encode(Owner(os.getpid(), start_time(os.getpid()))) + b"\n")
        except OSError as fault:
            raise _refused(path.parent, fault) from fault

    def unlock(self) -> None:
        """Give the folder up."""
        while self._locks:
            fd = self._locks.pop()
            os.ftruncate(fd, 0)
            os.close(fd)

    def owner(self) -> Owner | None:
        """Who the lock file names, if that process lives."""
        return _owner(self.lock_file)

    def write_local_key(self, token: str) -> None:
        """Keep the local owner's key for the command line, readable by its owner only."""
        fd = os.open(self.local_key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(token + "\n")


def start_time(pid: int) -> int:
    """A process's start in clock ticks since boot (proc(5), field 22 of stat).

    With the pid it names a process for good.
    """
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text.rpartition(")")[2].split()[19])


def _owner(lock_file: Path) -> Owner | None:
    try:
        owner = msgspec.json.decode(lock_file.read_bytes(), type=Owner)
        return owner if start_time(owner.pid) == owner.started else None
    except (OSError, msgspec.DecodeError):
        return None


def _refused(path: Path, fault: OSError) -> Exception:
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"{path}: the disk is full; nothing was written")
    return TransactionFailed(
        f"the data folder {path} cannot be used: {fault.strerror}",
        hint="Choose a folder that you may write, with --data DIR or THANE_DATA.",
    )
