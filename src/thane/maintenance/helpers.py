"""Where a verification's quick half runs: in this process, or in several beside it.

A helper opens the store for reading by itself and answers one piece of work after the other.
It must not write, nor know what becomes of its answers.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from thane.kernel.records.engine import Engine
from thane.kernel.records.schema import Registry
from thane.maintenance.quick import EntriesFound, EntriesWork, RowsFound, RowsWork, quick_entries, quick_rows

log = logging.getLogger(__name__)

Opener = Callable[[], Awaitable[tuple[Engine, Registry]]]


class Help(NamedTuple):
    """`opener` opens the store in a helper, and can be sent there; `processes` starts so many helpers,
    each with a first act."""

    opener: Opener
    processes: Callable[[int, Callable[..., None], tuple[Any, ...]], Executor]


W = TypeVar("W", EntriesWork, RowsWork)

# Entries and rows below which starting processes takes longer than the work.
WORTH_HELP: Final = 60_000
MOST: Final = 8

_answer = msgspec.msgpack.Encoder().encode
_read: Final[dict[type[Any], Callable[[bytes], Any]]] = {
    EntriesWork: msgspec.msgpack.Decoder(EntriesFound | None).decode,
    RowsWork: msgspec.msgpack.Decoder(RowsFound | None).decode,
}


class Helpers:
    """Does pieces of work, in the order in which they were asked for. Close it."""

    def __init__(self, engine: Engine, registry: Registry, help: Help | None = None) -> None:
        """Without `help` there are no processes beside this one."""
        self._engine = engine
        self._registry = registry
        self._help = help
        self._pool: Executor | None = None
        self.count = 0

    def start(self) -> None:
        """Let as many processes help as there are processors."""
        if self._help is not None:
            self.count = min(MOST, len(os.sched_getaffinity(0)))
            self._pool = self._help.processes(self.count, _open, (self._help.opener,))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    async def each(self, works: Iterable[W]) -> AsyncIterator[tuple[W, Any]]:
        """Each piece of work with its answer."""
        waiting: deque[tuple[W, asyncio.Task[Any]]] = deque()
        try:
            for work in works:
                waiting.append((work, asyncio.create_task(self._one(work))))
                if len(waiting) > self.count + 1:
                    done, task = waiting.popleft()
                    yield done, await task
            while waiting:
                done, task = waiting.popleft()
                yield done, await task
        finally:
            for _, task in waiting:
                task.cancel()

    async def _one(self, work: EntriesWork | RowsWork) -> Any:
        if self._pool is not None:
            try:
                loop = asyncio.get_running_loop()
                return _read[type(work)](await loop.run_in_executor(self._pool, _help, work))
            except BrokenExecutor:
                log.warning("a helper has died; the verification goes on without helpers")
                self._pool = None
        return await _do(self._engine, self._registry, work)


async def _do(engine: Engine, registry: Registry, work: EntriesWork | RowsWork) -> Any:
    if isinstance(work, EntriesWork):
        return await quick_entries(engine, work)
    return await quick_rows(engine, registry, work)


# -- in a helper -----------------------------------------------------------------------------

_mine: list[Any] = []


def _open(opener: Opener) -> None:
    """A helper's first act. Who started it also ends it, on Ctrl-C too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # what it makes has no cycles, and there is much of it
    loop = asyncio.new_event_loop()
    _mine[:] = [loop, *loop.run_until_complete(opener())]


def _help(work: EntriesWork | RowsWork) -> bytes:
    loop, engine, registry = _mine
    return _answer(loop.run_until_complete(_do(engine, registry, work)))
