"""Jails in stock that have imported a template's packages ahead of their job.

Packages are not trusted: they are imported in a jail that one job alone will use, bound by
that job's limits from before the first import on. So what a package does when it is
imported it does to that job's jail. A jail cannot be forked again from one in which
packages have run (ADR 0020): a fork would need rights that nobody in a jail has.

A job that finds none in stock gets a jail that sees the packages and has imported nothing.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import deque
from dataclasses import dataclass, field

from thane.isolation.host import Host
from thane.isolation.monitor import Monitor
from thane.isolation.nursery import Nursery
from thane.isolation.ready import Ready, Wanted
from thane.isolation.request import Refused, Request

_RESTOCK_AFTER = 0.02  # a job that has just begun is to have the processor
_IMPORT_SECONDS = 60.0
_MOST_KINDS = 8  # kept in stock at once; the one unused for longest goes first


@dataclass
class _Shelf:
    """The stock of one kind: of one template under the same limits."""

    wanted: Wanted
    ready: deque[Ready] = field(default_factory=deque)
    making: set[asyncio.Task[None]] = field(default_factory=set)
    spoiled: bool = False  # importing ended the jail, or took too long: each job sees to it itself
    restocking: asyncio.TimerHandle | None = None
    unused: asyncio.TimerHandle | None = None
    watches: dict[Ready, asyncio.TimerHandle] = field(default_factory=dict)


class Templates:
    def __init__(self, host: Host, nursery: Nursery, stock: int, idle: float) -> None:
        self._host = host
        self._nursery = nursery
        self._stock = stock
        self._idle = idle  # seconds after which an unused kind is not kept any more
        self._shelves: dict[Wanted, _Shelf] = {}  # in the order of their last use

    async def take(self, tier: str, request: Request) -> Ready:
        """A jail that sees the template's packages, if there is one with them imported. Raises Refused."""
        template = request.template
        assert template is not None, "asked for jobs with a template only"
        if template.imports and self._stock:
            shelf = self._shelf(Wanted(tier, template=template, limits=request.limits))
            while shelf.ready:
                jail = shelf.ready.popleft()
                self._unwatch(shelf, jail)
                if jail.lives():
                    return jail
                await self._nursery.close(jail)
        return await self._nursery.make(Wanted(tier, template=template))

    def _shelf(self, wanted: Wanted) -> _Shelf:
        """The kind's shelf, noted as used; it is filled up in a moment."""
        loop = asyncio.get_running_loop()
        shelf = self._shelves.pop(wanted, None) or _Shelf(wanted)
        self._shelves[wanted] = shelf
        if shelf.unused is not None:
            shelf.unused.cancel()
        shelf.unused = loop.call_later(self._idle, self._drop, shelf)
        if shelf.restocking is None:
            shelf.restocking = loop.call_later(_RESTOCK_AFTER, self._restock, shelf)
        if len(self._shelves) > _MOST_KINDS:
            self._drop(next(iter(self._shelves.values())))
        return shelf

    def _restock(self, shelf: _Shelf) -> None:
        shelf.restocking = None
        if shelf.spoiled:
            return
        for _ in range(self._stock - len(shelf.ready) - len(shelf.making)):
            task = asyncio.create_task(self._add(shelf))
            shelf.making.add(task)
            task.add_done_callback(shelf.making.discard)

    async def _add(self, shelf: _Shelf) -> None:
        try:
            jail = await self._nursery.make(shelf.wanted)
        except Refused as refused:
            sys.stderr.write(f"no jail could be made ahead: {refused.message}\n")
            return
        self._watch(shelf, jail)
        try:
            await asyncio.wait_for(_imported(jail), _IMPORT_SECONDS)
        except (TimeoutError, OSError) as error:
            shelf.spoiled = True
            template = shelf.wanted.template
            sys.stderr.write(f"a jail did not import {template} ahead of its job: {error!r}\n")
            await self._discard(shelf, jail)
        except asyncio.CancelledError:
            await self._discard(shelf, jail)
            raise
        else:
            shelf.ready.append(jail)

    async def _discard(self, shelf: _Shelf, jail: Ready) -> None:
        self._unwatch(shelf, jail)
        await self._nursery.close(jail)

    # -- while they wait -------------------------------------------------------------------

    def _watch(self, shelf: _Shelf, jail: Ready) -> None:
        """Until it is taken: limits that nobody else enforces hold, and a dead one is reaped at once."""
        loop, limits = asyncio.get_running_loop(), shelf.wanted.limits
        assert limits is not None, "what imports ahead of its job is bound by the job's limits"

        def end(_: str) -> None:
            if jail.lives():
                signal.pidfd_send_signal(jail.launched.pidfd, signal.SIGKILL)

        first = jail.launched.pid
        monitor = Monitor(
            jail.place, limits, jail.group, root=first, first=first, send=lambda *_: None, stop=end
        )

        def look() -> None:
            shelf.watches[jail] = loop.call_later(monitor.tick(), look)

        look()
        loop.add_reader(jail.launched.pidfd, self._died, shelf, jail)

    def _unwatch(self, shelf: _Shelf, jail: Ready) -> None:
        asyncio.get_running_loop().remove_reader(jail.launched.pidfd)
        shelf.watches.pop(jail).cancel()

    def _died(self, shelf: _Shelf, jail: Ready) -> None:
        if jail in shelf.ready:
            shelf.ready.remove(jail)
            self._nursery.later(self._discard(shelf, jail))
        else:
            # It is importing still: whoever waits for that hears that it has ended.
            asyncio.get_running_loop().remove_reader(jail.launched.pidfd)

    def _drop(self, shelf: _Shelf) -> None:
        """Keep this kind no longer."""
        self._shelves.pop(shelf.wanted, None)
        for timer in (shelf.restocking, shelf.unused):
            if timer is not None:
                timer.cancel()
        shelf.spoiled = True  # what is being made will not be followed by another
        for task in shelf.making:
            task.cancel()
        while shelf.ready:
            self._nursery.later(self._discard(shelf, shelf.ready.popleft()))

    def rest(self) -> None:
        """Nobody is connected: nothing is kept."""
        for shelf in list(self._shelves.values()):
            self._drop(shelf)

    async def end(self) -> None:
        """Drop everything and wait for what is being made."""
        making = [task for shelf in self._shelves.values() for task in shelf.making]
        self.rest()
        if making:
            await asyncio.wait(making)


async def _imported(jail: Ready) -> None:
    """Until the jail says so, which it may do too early: nothing depends on it. Raises OSError if it ends."""
    loop = asyncio.get_running_loop()
    jail.plan.setblocking(False)
    said = await loop.sock_recv(jail.plan, 16)
    jail.plan.setblocking(True)
    if not said:
        raise ConnectionResetError("it ended while it imported")
