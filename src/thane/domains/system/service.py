"""The life of this process in the store: it says that it is there, and notices who is not."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from thane.domains.system.entities import Server
from thane.kernel.clock import Clock, from_us
from thane.kernel.context import SYSTEM_TENANT, system_context
from thane.kernel.records import Records, Unit

# A process that has not moved its row for this long is dead to the others.
DEAD_AFTER = timedelta(seconds=15)


class SystemService:
    """Rows of `servers`."""

    def __init__(self, records: Records, clock: Clock, me: Server) -> None:
        self.me = me
        self._records = records
        self._clock = clock

    async def register(self) -> None:
        """Enter this process."""

        async def write(unit: Unit) -> None:
            unit.create(self.me)

        await self._housekeep(write)

    async def beat(self) -> None:
        """Say that this process still lives, and sweep out rows of dead ones."""

        async def write(unit: Unit) -> None:
            mine = await unit.find(Server, self.me.id)
            if mine is None:
                unit.create(msgspec.structs.replace(self.me, last_seen_at=unit.now))  # type: ignore[type-var]
            else:
                await unit.update(mine, last_seen_at=unit.now)

        await self._housekeep(write)
        await self._sweep()

    async def leave(self) -> None:
        """Take this process out."""

        async def write(unit: Unit) -> None:
            mine = await unit.find(Server, self.me.id)
            if mine is not None:
                await unit.delete(mine)

        await self._housekeep(write)

    async def _sweep(self) -> None:
        limit = from_us(self._clock.now_us()) - DEAD_AFTER
        for dead in await self._records.across(Server, Server.last_seen_at < limit):

            async def write(unit: Unit, id_: str = dead.id) -> None:
                found = await unit.find(Server, id_)
                if found is not None and found.last_seen_at < limit:
                    await unit.delete(found)

            await self._housekeep(write)

    async def _housekeep(self, write: object) -> None:
        context = system_context(SYSTEM_TENANT, "req_system", self._clock.now_us())
        await self._records.housekeep(context, write)  # type: ignore[arg-type]
