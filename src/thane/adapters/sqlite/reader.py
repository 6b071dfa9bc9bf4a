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
NEVER = float("inf")
Observe = Callable[[str, str, float], None]
Statement = tuple[str, Sequence[Any]]


class _Inline:
    """A connection of the loop's own thread, whose queries end when their time is used up."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.deadline = NEVER  # nothing but a query here has one
        connection.set_progress_handler(self._is_late, STEPS_BETWEEN_LOOKS)

    def _is_late(self) -> bool:
        return time.perf_counter() > self.deadline

    def rows(self, sql: str, args: Sequence[Any], started: float) -> list[Row]:
        self.deadline = started + INLINE_SECONDS
        try:
            return self.connection.execute(sql, args).fetchall()
        finally:
            self.deadline = NEVER

    def several(self, statements: Sequence[Statement], started: float) -> list[list[Row]]:
        """All rows of each statement, in one read transaction."""
        self.deadline = started + INLINE_SECONDS
        try:
            self.connection.execute("BEGIN")
            return [self.connection.execute(sql, args).fetchall() for sql, args in statements]
        finally:
            self.deadline = NEVER
            if self.connection.in_transaction:
                self.connection.execute("COMMIT")


class Reader:
    """Read connections of one store."""

    def __init__(
        self, path: Path, observe: Observe | None, vfs: str | None = None, *, readonly: bool = False
    ) -> None:
        self._readonly = readonly
        self._path = path
        self._vfs = vfs
        self._observe = observe
        inline = connect(path, readonly=readonly, vfs=vfs)
        inline.set_busy_timeout(0)  # whoever must wait does so in the pool
        self._inline = _Inline(inline)
        self._writer: _Inline | None = None
        self._resting: Callable[[], bool] = lambda: False
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="thane-sqlite-reader")
        self._local = threading.local()
        self._pooled: list[apsw.Connection] = []
        self.sent_to_pool = 0

    def share(self, writer: apsw.Connection, resting: Callable[[], bool]) -> None:
        """Have inline reads go through the write connection whenever it is `resting`.

        What it wrote is still in its cache. SQLite empties every other connection's cache at each
        commit of this one, and the next read there costs three times as much.
        """
        self._writer, self._resting = _Inline(writer), resting

    async def rows(
        self, sql: str, args: Sequence[Any], table: str, verb: str, *, inline: bool = True
    ) -> list[Row]:
        """All rows of a statement. `inline` False: it does what cannot be aborted, so not in the loop."""
        started = time.perf_counter()
        try:
            if inline:
                through = self._writer if self._writer is not None and self._resting() else self._inline
                try:
                    return through.rows(sql, args, started)
                except (apsw.InterruptError, apsw.BusyError):
                    self.sent_to_pool += 1
            return await self.pooled(lambda connection: connection.execute(sql, args).fetchall())
        except (apsw.Error, UnicodeDecodeError) as error:
            raise query_failed(error) from error
        finally:
            if self._observe is not None:
                self._observe(verb, table, time.perf_counter() - started)

    async def several(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """All rows of each statement, all of one moment."""
        started = time.perf_counter()
        try:
            try:
                # Never through the write connection: a transaction of its own is not to come in between.
                return self._inline.several(statements, started)
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
        for connection in [self._inline.connection, *self._pooled]:
            connection.close()
