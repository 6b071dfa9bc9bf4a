"""The caller of a command that outlives whoever owned its data folder when it began.

A command that finds a folder in use speaks to its owner, which may be a command that ends
before this one does. Then this one joins anew: it speaks to the next owner, or becomes it.
What may have been done already is not asked for twice unless it says that it may be.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from thane.interfaces.cli.output import note
from thane.interfaces.local import Answer, Caller, NobodyAnswers, OnEvent
from thane.kernel.errors import ConnectionFailed
from thane.kernel.operations.outside import Effects

PAUSE_SECONDS: Final = 0.05
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class JoiningCaller:
    """Calls through `join()`'s caller, and joins again (for `patience` seconds) when nobody is there."""

    def __init__(self, join: Callable[[], Awaitable[Caller]], patience: float) -> None:
        self._join = join
        self._patience = patience
        self._caller: Caller | None = None

    async def join(self) -> None:
        """Find the owner, or become it."""
        self._caller = await self._join()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        on_event: OnEvent | None = None,
    ) -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            assert self._caller is not None
            try:
                return await self._caller.call(method, path, body, headers=headers, on_event=on_event)
            except ConnectionFailed as fault:
                if not _may_repeat(fault, method, headers) or loop.time() > deadline:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)
            await self.join()


def _may_repeat(fault: ConnectionFailed, method: str, headers: Mapping[str, str] | None) -> bool:
    """Whether sending it again cannot do it twice."""
    return isinstance(fault, NobodyAnswers) or method == "GET" or "Idempotency-Key" in (headers or {})


async def visitors_served(effects: Effects) -> bool:
    """Wait until what other commands run through this process has ended; False if a signal cut it short."""
    if not effects.under_way:
        return True
    loop = asyncio.get_running_loop()
    enough = asyncio.Event()
    for name in ENDING:
        loop.add_signal_handler(name, enough.set)
    note("thane: other commands run programs through this one, which waits for them; Ctrl-C ends them")
    told = asyncio.create_task(enough.wait())
    try:
        while effects.under_way and not enough.is_set():
            await asyncio.wait({told}, timeout=PAUSE_SECONDS)
    finally:
        told.cancel()
        for name in ENDING:
            loop.remove_signal_handler(name)
    return not enough.is_set()
