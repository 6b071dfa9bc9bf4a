"""Connections: pragmas that were read back, the functions SQL lacks, and errors as Thane's.

A connection is used by one thread at a time. Nothing else opens the file.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import msgspec

from thane.adapters.sqlite.aggregates import ExactAverage, ExactSum
from thane.kernel.errors import (
    ConnectionFailed,
    Corrupt,
    DatabaseError,
    Invalid,
    QueryFailed,
    StorageFull,
    TransactionFailed,
    Unavailable,
)
from thane.kernel.records.predicate import json_contains

BUSY_MS = 5000
# What a write-ahead log that grew beyond it is cut back to when it begins anew.
WAL_KEPT_BYTES = 16 << 20
# Applied when the background checkpoints cannot keep up: 64 MB of 4 KB pages.
AUTOCHECKPOINT_PAGES = 16_000
_decode = msgspec.json.Decoder().decode


def make_private(path: Path) -> None:
    """Make the file if there is none, and let nobody else read it.

    Its log and the log's index get the file's mode from SQLite.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # By its name: closing a descriptor would drop locks that another connection here may hold.
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            with suppress(OSError):  # another user's file, or a disk that takes no writes: as it is, then
                path.chmod(0o600)
    except OSError:
        return  # what is wrong is said when the store is opened


def connect(path: Path, *, readonly: bool = False, vfs: str | None = None) -> apsw.Connection:
    """A tuned connection; ConnectionFailed or Corrupt with the reason.

    `readonly` works beside an owner, and where nothing can be written: see `_at_rest`.
    """
    try:
        connection = _opened(str(path), readonly, vfs)
    except apsw.Error as error:
        if not readonly or not isinstance(error, _NO_ROOM):
            raise opening_failed(path, error) from error
        connection = _at_rest(path, vfs, error)
    connection.create_scalar_function("json_contains", _json_contains, 2, deterministic=True)
    connection.create_aggregate_function("exact_sum", ExactSum, 2)
    connection.create_aggregate_function("exact_avg", ExactAverage, 2)
    return connection


# What SQLite says when it cannot make the index of a write-ahead log, which even reading needs.
_NO_ROOM = (apsw.CantOpenError, apsw.IOError, apsw.ReadOnlyError, apsw.FullError)


def _opened(name: str, readonly: bool, vfs: str | None, more: int = 0) -> apsw.Connection:
    # Never made here: where a running store's file was moved away, an empty one would take its place.
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
    connection = apsw.Connection(name, flags=flags | more, vfs=vfs, statementcachesize=256)
    try:
        connection.set_busy_timeout(BUSY_MS)
        _tune(connection, readonly)
        if readonly:
            connection.execute("PRAGMA schema_version").fetchall()  # the first that looks into the file
    except BaseException:
        connection.close(True)
        raise
    return connection


def _at_rest(path: Path, vfs: str | None, cause: apsw.Error) -> apsw.Connection:
    """A store on a disk that takes no writes: read as it lies there, if its log is empty.

    Nobody can change it meanwhile: a writer, too, would need the index that could not be made.
    """
    if not path.exists():
        raise opening_failed(path, cause) from cause
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise ConnectionFailed(
            f"{path} cannot be opened: its write-ahead log can only be read where files can be written",
            hint="Make the data folder writable, or free space on its disk; or read a copy of the folder.",
        ) from cause
    try:
        return _opened(f"{path.absolute().as_uri()}?immutable=1", True, vfs, apsw.SQLITE_OPEN_URI)
    except apsw.Error as error:
        raise opening_failed(path, error) from error


def _tune(connection: apsw.Connection, readonly: bool) -> None:
    wanted: dict[str, Any] = {
        "foreign_keys": 1,
        "temp_store": 2,
        "cache_size": -32_000,
        "mmap_size": 268_435_456,
        "journal_size_limit": WAL_KEPT_BYTES,
        "case_sensitive_like": None,
    }
    if not readonly:
        # Each statement on its own: apsw runs a string of several lazily.
        wanted = {"journal_mode": "wal", "synchronous": 1, "secure_delete": 1, **wanted}
        wanted["wal_autocheckpoint"] = AUTOCHECKPOINT_PAGES
    for name, value in wanted.items():
        if name == "case_sensitive_like":
            connection.execute("PRAGMA case_sensitive_like = ON").fetchall()
            continue
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
        found = connection.execute(f"PRAGMA {name}").fetchall()
        if found != [(value,)] and name != "mmap_size":
            raise ConnectionFailed(f"SQLite did not take {name} = {value}: it says {found}")


def _json_contains(*args: Any) -> int | None:
    document, wanted = args
    return None if document is None else int(json_contains(_decode(document), _decode(wanted)))


def opening_failed(path: Path, error: apsw.Error) -> DatabaseError:
    """What an error at opening means to a person."""
    if isinstance(error, (apsw.NotADBError, apsw.CorruptError)):
        return Corrupt(
            f"{path} is not a sound SQLite store: {error}", hint="Restore the newest backup of the store."
        )
    if isinstance(error, apsw.CantOpenError):
        return ConnectionFailed(
            f"{path} cannot be opened: {error}", hint="Check that the folder exists and is yours."
        )
    return _general(error, f"{path}: {error}")


def query_failed(error: apsw.Error | UnicodeDecodeError) -> DatabaseError | Unavailable | Invalid:
    """What an error while reading means. Text that is not UTF-8 was not written by us."""
    if isinstance(error, (apsw.CorruptError, UnicodeDecodeError)):
        return Corrupt(f"the store is damaged: {error}")
    if isinstance(error, apsw.BusyError):
        return Unavailable("another program holds the store's lock", retry_after=1)
    if isinstance(error, apsw.TooBigError):
        return Invalid(f"the query or its values are too large for the store: {error}")
    return QueryFailed(f"the store refused a query: {error}")


def commit_failed(error: apsw.Error) -> DatabaseError | Unavailable:
    """What an error while writing means. Nothing of the batch is in the store."""
    if isinstance(error, apsw.BusyError):
        return Unavailable("another program holds the store's lock; nothing was written", retry_after=1)
    return _general(error, f"the store could not commit: {error}")


def _general(error: apsw.Error, message: str) -> DatabaseError:
    if isinstance(error, apsw.FullError):
        return StorageFull(f"{message}; nothing was written")
    if isinstance(error, apsw.ReadOnlyError):
        return TransactionFailed(
            f"{message}; nothing was written",
            hint="The data folder is read-only; make it writable or use another.",
        )
    if isinstance(error, apsw.CorruptError):
        return Corrupt(message)
    return TransactionFailed(message)
