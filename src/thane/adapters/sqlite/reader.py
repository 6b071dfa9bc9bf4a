"""Reads: point reads in the loop's own thread for a few milliseconds at most, the rest in a pool.

A point read costs less than handing it to a thread. A query that turns out long is
aborted when its time is used up and run again in the pool, so it delays nobody.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from thane.adapters.sqlite.connection import connect, query_failed

T = TypeVar("T")
Row = tuple[Any, ...]

INLINE_SECONDS = 0.003
# How often the clock is looked at, in steps of SQLite's virtual machine. By the clock, and not by a
# number of steps: SQLite counts those of a prepared statement over all its runs, and a step that
# calls one of our functions costs a hundred times one that does not.
STEPS_BETWEEN_LOOKS = 500
POOL_THREADS = 2
Observe = Callable[[str, str, float], None]


class Reader:
    """Read connections of one store."""

    def __init__(
        self, path: Path, observe: Observe | None, vfs: str | None = None, *, readonly: bool = False
    ) -> None:
        self._readonly = readonly
        self._path = path
        self._vfs = vfs
        self._observe = observe
        self._deadline = 0.0
        self._inline = connect(path, readonly=readonly, vfs=vfs)
        self._inline.set_busy_timeout(0)  # whoever must wait does so in the pool
        self._inline.set_progress_handler(self._is_late, STEPS_BETWEEN_LOOKS)
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="thane-sqlite-reader")
        self._local = threading.local()
        self._pooled: list[apsw.Connection] = []
        self.sent_to_pool = 0

    def _is_late(self) -> bool:
        return time.perf_counter() > self._deadline

    async def rows(
        self, sql: str, args: Sequence[Any], table: str, verb: str, *, inline: bool = True
    ) -> list[Row]:
        """All rows of a statement. `inline` False: it does what cannot be aborted, so not in the loop."""
        started = time.perf_counter()
        self._deadline = started + INLINE_SECONDS
        try:
            if inline:
                try:
                    return self._inline.execute(sql, args).fetchall()
                except (apsw.InterruptError, apsw.BusyError):
                    self.sent_to_pool += 1
            return await self.pooled(lambda connection: connection.execute(sql, args).fetchall())
        except (apsw.Error, UnicodeDecodeError) as error:
            raise query_failed(error) from error
        finally:
            if self._observe is not None:
                self._observe(verb, table, time.perf_counter() - started)

    async def several(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Row]]:
        """All rows of each statement, all of one moment."""
        started = time.perf_counter()
        self._deadline = started + INLINE_SECONDS
        connection = self._inline
        try:
            try:
                connection.execute("BEGIN")
                try:
                    return [connection.execute(sql, args).fetchall() for sql, args in statements]
                finally:
                    if connection.in_transaction:
                        connection.execute("COMMIT")
            except (apsw.InterruptError, apsw.BusyError):
                self.sent_to_pool += 1
            return await self.pooled(
                lambda pooled: [pooled.execute(sql, args).fetchall() for sql, args in statements]
            )
        except (apsw.Error, UnicodeDecodeError) as error:
            raise query_failed(error) from error
        finally:
            if self._observe is not None:
                self._observe("ask", "several", time.perf_counter() - started)

    async def pooled(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` in a pool thread inside one read transaction, so that all it sees is of one moment."""

        def run() -> T:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = connect(self._path, readonly=self._readonly, vfs=self._vfs)
                self._local.connection = connection
                self._pooled.append(connection)
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                if connection.in_transaction:  # a failed read may have ended it
                    connection.execute("COMMIT")

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise query_failed(error) from error

    def close(self) -> None:
        """Wait for what is being read, then let go of the file."""
        self._pool.shutdown(wait=True)
        for connection in [self._inline, *self._pooled]:
            connection.close()
