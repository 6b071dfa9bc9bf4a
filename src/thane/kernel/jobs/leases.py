"""Leases: one process at a time does a named thing, and notices when it no longer may.

A lease is a row changed by compare-and-set. Its fence grows with each new holder, so that
one who slept through its lease is told apart from its successor. Times are compared with
the clock of each process: a skew shortens or lengthens a lease but never gives one fence
to two holders. What a lease guards should also be safe by itself (cursors move by
compare-and-set); the lease saves double work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from thane.kernel.clock import EPOCH, Clock
from thane.kernel.context import SYSTEM_TENANT, system_context
from thane.kernel.errors import Conflict, ThaneError
from thane.kernel.jobs.entities import LeaseRow, derived_id
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit

log = logging.getLogger(__name__)
T = TypeVar("T")

TTL_SECONDS = 15.0


class LeaseLost(Conflict):
    """Another process holds the lease now, or it ran out before it was renewed."""

    code = "lease_lost"
    title = "The lease was lost"
    default_hint = "Nothing to do: the process that holds the lease now goes on."


class Holder(msgspec.Struct, frozen=True):
    """A process. `server` names one that runs at most once at a time (the data folder's lock sees to
    it); `boot` is new at each start. So a lease of the same server and another boot is a dead one's."""

    server: str
    boot: str

    @property
    def text(self) -> str:
        return f"{self.server}/{self.boot}"

    def succeeds(self, other: str) -> bool:
        """Whether `other` was this server before it was started again."""
        return other.startswith(f"{self.server}/") and other != self.text


class Lease(msgspec.Struct, frozen=True):
    """A lease that was had: it holds as long as nobody has raised the fence."""

    name: str
    fence: int


class Leases:
    """Takes, renews and gives back leases for one process."""

    def __init__(
        self, records: Records, clock: Clock, holder: Holder, *, ttl_seconds: float = TTL_SECONDS
    ) -> None:
        self.holder = holder
        self.ttl_seconds = ttl_seconds
        self._records = records
        self._clock = clock

    async def acquire(self, name: str) -> Lease | None:
        """The lease, if it is free, has run out, is a dead predecessor's, or is ours already; else None."""

        async def take(unit: Unit) -> Lease | None:
            row = await unit.find(LeaseRow, _id(name))
            if row is None:
                unit.create(
                    LeaseRow(
                        id=_id(name), name=name, holder=self.holder.text, fence=1, until=self._until(unit)
                    )
                )
                return Lease(name, 1)
            ours = row.holder == self.holder.text
            if row.until > unit.now and not ours and not self.holder.succeeds(row.holder):
                return None
            fence = row.fence if ours and row.until > unit.now else row.fence + 1
            await unit.update(row, holder=self.holder.text, fence=fence, until=self._until(unit))
            return Lease(name, fence)

        return await self._housekeep(take)

    async def renew(self, lease: Lease) -> None:
        """Hold it for another term. LeaseLost if another has it, or could have had it."""

        async def extend(unit: Unit) -> None:
            row = await self._mine(unit, lease)
            if row.until <= unit.now:
                raise LeaseLost(
                    f"the lease {lease.name} ran out before it was renewed", extra={"final": True}
                )
            await unit.update(row, until=self._until(unit))

        await self._housekeep(extend)

    async def release(self, lease: Lease) -> None:
        """Give it back at once; of no effect if it was lost."""

        async def let_go(unit: Unit) -> None:
            row = await unit.find(LeaseRow, _id(lease.name))
            if row is not None and row.fence == lease.fence and row.holder == self.holder.text:
                await unit.update(row, until=EPOCH)

        await self._housekeep(let_go)

    async def guard(self, unit: Unit, lease: Lease) -> None:
        """Let the unit commit only if the lease is still ours then: its row is among the unit's guards."""
        await self._mine(unit, lease)

    async def run_under(self, name: str, work: Callable[[Lease], Awaitable[T]]) -> T | None:
        """Run `work` while holding the lease, renewed as it runs; None if another holds it.

        LeaseLost if it was lost meanwhile; `work` has been cancelled then.
        """
        lease = await self.acquire(name)
        if lease is None:
            return None
        working = asyncio.ensure_future(work(lease))
        renewing = asyncio.ensure_future(self._keep(lease))
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            await renewing  # raises: it never ends otherwise
            raise AssertionError("unreachable")
        finally:
            await _end(working, renewing)
            await self._release_quietly(lease)

    async def _keep(self, lease: Lease) -> None:
        """Renew until the lease is lost. A store that is away for a moment is asked again."""
        last = self._clock.now_us()
        while True:
            await asyncio.sleep(self.ttl_seconds / 3)
            try:
                await self.renew(lease)
                last = self._clock.now_us()
            except LeaseLost:
                raise
            except ThaneError as fault:
                log.warning("a lease was not renewed", extra={"lease": lease.name, "cause": fault.message})
                if self._clock.now_us() - last > self.ttl_seconds * 1_000_000:
                    raise LeaseLost(f"the lease {lease.name} could not be renewed in time") from fault

    async def _release_quietly(self, lease: Lease) -> None:
        try:
            await self.release(lease)
        except ThaneError as fault:
            # It runs out by itself; whoever ends must not fail over it.
            log.warning("a lease was not given back", extra={"lease": lease.name, "cause": fault.message})

    async def _mine(self, unit: Unit, lease: Lease) -> LeaseRow:
        row = await unit.find(LeaseRow, _id(lease.name))
        if row is None or row.fence != lease.fence or row.holder != self.holder.text:
            holder = "nobody" if row is None else row.holder
            raise LeaseLost(f"the lease {lease.name} is held by {holder}", extra={"final": True})
        return row

    def _until(self, unit: Unit) -> datetime:
        return unit.now + timedelta(seconds=self.ttl_seconds)

    async def _housekeep(self, handler: Callable[[Unit], Awaitable[T]]) -> T:
        now_us = self._clock.now_us()
        return await self._records.housekeep(system_context(SYSTEM_TENANT, "leases", now_us), handler)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _id(name: str) -> str:
    return derived_id("lse", name)
