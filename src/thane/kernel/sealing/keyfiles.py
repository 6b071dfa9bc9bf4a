"""The key folder's files: safe to read, safe to write. Bytes only; what they mean is keyring's.

Everything goes through a descriptor of the folder, so a folder that is exchanged between
check and use changes nothing. A file is written whole under a temporary name, fsynced and
renamed, and the folder is fsynced: after a crash there is the old file or the new one.
"""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thane.kernel.sealing.errors import (
    KeyFileCorrupt,
    KeyFolderMissing,
    KeyFolderUnsafe,
    KeyFolderUnwritable,
)

FOLDER_MODE = 0o700
FILE_MODE = 0o600

# No key file comes near it; it bounds what a planted file can make us read.
_MAX_FILE_BYTES = 1 << 26


@contextmanager
def folder(path: Path) -> Iterator[int]:
    """A descriptor of the folder at `path`, once it is known to be its owner's alone.

    Raises KeyFolderMissing if there is none, KeyFolderUnsafe if others could get in.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise KeyFolderMissing(f"there is no key folder at {path}") from None
    except PermissionError:
        raise KeyFolderUnsafe(
            f"the key folder {path} is not ours to open", hint="Run Thane as the user who owns the folder."
        ) from None
    try:
        _refuse_if_open(path, os.fstat(fd), FOLDER_MODE)
        yield fd
    finally:
        os.close(fd)


def _refuse_if_open(path: Path, found: os.stat_result, mode: int) -> None:
    """Raises KeyFolderUnsafe, with the command to mend it, unless `path` is ours and closed to others."""
    quoted = shlex.quote(str(path))
    if found.st_uid != os.geteuid():
        raise KeyFolderUnsafe(
            f"{path} belongs to user id {found.st_uid}, and Thane runs as {os.geteuid()}",
            hint=f"Run Thane as its owner, or give it over as root: chown -R {os.geteuid()} {quoted}",
        )
    if found.st_mode & 0o077:
        raise KeyFolderUnsafe(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: others than its owner can use it",
            hint=f"If nobody read the keys, close it: chmod {mode:o} {quoted}",
        )


def read(path: Path, name: str) -> bytes:
    """The contents of file `name`. Raises FileNotFoundError, KeyFolderUnsafe, KeyFileCorrupt."""
    with folder(path) as dir_fd:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd)
        except FileNotFoundError:
            raise
        except OSError as fault:  # a link (ELOOP), a socket (ENXIO), a file of somebody else (EACCES)
            raise KeyFileCorrupt(f"{path / name} cannot be read: {fault.strerror}") from fault
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise KeyFileCorrupt(f"{path / name} is no ordinary file")
            _refuse_if_open(path / name, found, FILE_MODE)
            data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise KeyFileCorrupt(f"{path / name} is larger than {_MAX_FILE_BYTES} bytes")
    return data


def write(path: Path, name: str, data: bytes, *, replace: bool) -> None:
    """Puts file `name` into the folder, whole or not at all, and on the disk when it returns.

    Without `replace` an existing file is kept and FileExistsError raised. Raises
    KeyFolderUnwritable for a full or read-only disk.
    """
    with folder(path) as dir_fd, _writable(path / name):
        temporary = f".{name}.{secrets.token_hex(8)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE, dir_fd=dir_fd)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            if replace:
                os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            else:  # link(2) refuses to overwrite, rename(2) does not
                os.link(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
                os.unlink(temporary, dir_fd=dir_fd)
        except BaseException:
            os.unlink(temporary, dir_fd=dir_fd)
            raise
        os.fsync(dir_fd)


def append_line(path: Path, name: str, line: bytes) -> None:
    """Adds `line` and a newline to file `name`, on the disk when it returns.

    What follows the last newline was torn by a crash before anyone was told that it is
    there; it is cut off first. Raises KeyFolderUnsafe and KeyFolderUnwritable.
    """
    with folder(path) as dir_fd, _writable(path / name):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, FILE_MODE, dir_fd=dir_fd)
        with os.fdopen(fd, "r+b") as file:
            _refuse_if_open(path / name, os.fstat(fd), FILE_MODE)
            end = file.read().rfind(b"\n") + 1
            file.truncate(end)
            file.seek(end)
            file.write(line + b"\n")
            file.flush()
            os.fsync(fd)
        os.fsync(dir_fd)


@contextmanager
def _writable(what: Path) -> Iterator[None]:
    """Turns what the disk refuses into KeyFolderUnwritable. FileExistsError is the caller's to judge."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as fault:
        raise KeyFolderUnwritable(f"{what} could not be written: {fault.strerror}") from fault
