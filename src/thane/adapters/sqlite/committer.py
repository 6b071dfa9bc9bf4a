"""When batches are committed, and in which thread. One per store.

Write sets that become ready in one turn of the event loop share a commit, done right
there: a thread hop would cost more than the commit. A thread takes over for durable
batches (fsync), for large ones, when another program holds the file's lock, and as long as
the disk is slow, because the loop must not wait. While the thread is at work everything
queues behind it, so the order of commits is the order of submission.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import apsw

from thane.adapters.sqlite.connection import BUSY_MS, commit_failed
from thane.adapters.sqlite.writer import Answer, Writer
from thane.kernel.errors import Unavailable
from thane.kernel.records.engine import Committed, WriteSet

T = TypeVar("T")

BATCH_MOST = 512
# Rows in one write set past which the loop should not do it.
INLINE_ROWS = 64
# Bytes of bodies and details in a batch past which the same holds.
INLINE_BYTES = 1 << 20
# A commit that took longer says that the next one is not for the loop either.
SLOW_SECONDS = 0.02
RIDE_SECONDS = 0.5
QUEUE_MOST = 20_000
RIDERS_MOST = 50_000


class Committer:
    """Collects write sets and has them applied."""

    def __init__(self, writer: Writer, *, durable: bool, appended: Callable[[int], None]) -> None:
        self._writer = writer
        self._durable = durable
        self._appended = appended
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="thane-sqlite-writer")
        self._pending: list[tuple[WriteSet, asyncio.Future[Committed]]] = []
        self._riders: list[WriteSet] = []
        self._ride_timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._busy = False
        self._slow = False
        self._jobs: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self.dropped_riders = 0
        self._closed = False

    async def commit(self, write_set: WriteSet) -> Committed:
        """Queue and wait. Unavailable when the queue is full: memory must not grow without end."""
        self._refuse_closed()
        if len(self._pending) >= QUEUE_MOST:
            raise Unavailable("the store cannot keep up", retry_after=1)
        future: asyncio.Future[Committed] = self._loop.create_future()
        self._pending.append((write_set, future))
        self._schedule()
        return await future

    def resting(self) -> bool:
        """Whether the loop's thread may read through the write connection: the writer's is not using it."""
        if self._busy or self._closed:
            return False
        self._writer.connection.set_busy_timeout(0)
        return True

    def ride(self, write_set: WriteSet) -> None:
        """Take along with the next batch, half a second from now at the latest."""
        if self._closed or len(self._riders) >= RIDERS_MOST:
            self.dropped_riders += 1
            return
        self._riders.append(write_set)
        if self._ride_timer is None:
            self._ride_timer = self._loop.call_later(RIDE_SECONDS, self._ride_now)

    async def exclusively(self, work: Callable[[], T]) -> T:
        """Run `work` in the writer's thread with the write connection, between two batches.

        What SQLite reports in it is raised as Thane's.
        """
        self._refuse_closed()

        def patiently() -> T:
            self._writer.connection.set_busy_timeout(BUSY_MS)
            try:
                return work()
            except apsw.Error as error:
                raise commit_failed(error) from error

        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.append((patiently, future))
        self._schedule()
        return await future

    async def close(self) -> None:
        """Commit what was submitted, riders too, and end the thread. What comes later is refused."""
        self._closed = True
        self._ride_now()
        while self._scheduled or self._busy or self._pending or self._jobs or self._riders:
            self._idle.clear()
            self._schedule()
            await self._idle.wait()
        if self._ride_timer is not None:
            self._ride_timer.cancel()
        self._thread.shutdown(wait=True)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("the store is being closed; nothing was written", retry_after=1)

    # -- inner ----------------------------------------------------------------------------

    def _ride_now(self) -> None:
        if self._ride_timer is not None:
            self._ride_timer.cancel()
            self._ride_timer = None
        if self._riders:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and not self._busy:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy:
            return
        if self._jobs:
            work, future = self._jobs.pop(0)
            self._in_thread(work, lambda result: _settle(future, result))
            return
        batch, self._pending = self._pending[:BATCH_MOST], self._pending[BATCH_MOST:]
        riders, self._riders = self._riders[:BATCH_MOST], self._riders[BATCH_MOST:]
        if not batch and not riders:
            self._idle.set()
            return
        write_sets = [w for w, _ in batch] + riders
        durable = self._durable or any(w.durable for w in write_sets)

        def done(result: Any) -> None:
            self._answer(batch, result)

        if not durable and not self._slow and not _is_large(write_sets):
            self._writer.connection.set_busy_timeout(0)
            try:
                result: Any = self._timed(write_sets, durable=False)
            except apsw.BusyError:
                pass  # the file is locked: the thread waits for it
            except Exception as error:  # noqa: BLE001  (handed to everyone who waits)
                self._finish(done, error)
                return
            else:
                self._finish(done, result)
                return
        self._in_thread(lambda: self._patiently(write_sets, durable), done)

    def _timed(self, write_sets: list[WriteSet], *, durable: bool) -> tuple[list[Answer], int]:
        """Apply them, and note whether the disk takes its time. An fsync may: it is the thread's anyway."""
        started = time.perf_counter()
        try:
            return self._writer.apply(write_sets, durable=durable)
        finally:
            if not durable and not _is_large(write_sets):
                self._slow = time.perf_counter() - started > SLOW_SECONDS

    def _finish(self, done: Callable[[Any], None], result: Any) -> None:
        """Answer, and go on whatever the answer's reader does."""
        try:
            done(result)
        finally:
            self._go_on()

    def _patiently(self, write_sets: list[WriteSet], durable: bool) -> tuple[list[Answer], int]:
        self._writer.connection.set_busy_timeout(BUSY_MS)
        try:
            return self._timed(write_sets, durable=durable)
        except apsw.BusyError as error:
            return [commit_failed(error) for _ in write_sets], 0

    def _in_thread(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._busy = True

        def finished(result: Any) -> None:
            self._busy = False
            self._finish(done, result)

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  (handed to whoever waits)
                result = error
            self._loop.call_soon_threadsafe(finished, result)

        self._thread.submit(run)

    def _go_on(self) -> None:
        if self._pending or self._jobs or (self._riders and self._ride_timer is None):
            self._schedule()
        elif not self._riders:
            self._idle.set()

    def _answer(self, batch: list[tuple[WriteSet, asyncio.Future[Committed]]], result: Any) -> None:
        if isinstance(result, BaseException):
            for _, future in batch:
                _settle(future, result)
            return
        answers, appended = result
        for (_, future), answer in zip(batch, answers[: len(batch)], strict=True):
            _settle(future, answer)
        if appended:
            self._appended(appended)


def _is_large(write_sets: Sequence[WriteSet]) -> bool:
    """Whether the loop should not do it itself."""
    rows = size = 0
    for write_set in write_sets:
        own = len(write_set.changes) + len(write_set.increments)
        if own > INLINE_ROWS:
            return True
        rows += own
        if write_set.draft is not None:
            size += sum(map(len, write_set.draft.bodies)) + len(write_set.draft.details or b"")
    return rows > INLINE_ROWS * 4 or size > INLINE_BYTES


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # whoever waited has gone; the commit stands
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
