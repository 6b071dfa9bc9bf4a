"""The life of this process in the store, and how far back the store's history reaches."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from thane.domains.system.entities import Server
from thane.kernel.clock import Clock, from_us
from thane.kernel.context import SYSTEM_TENANT, system_context
from thane.kernel.errors import IllegalState
from thane.kernel.records import Records, Unit
from thane.kernel.records.horizon import RetentionHorizon, horizon_id

# A process that has not moved its row for this long is dead to the others.
DEAD_AFTER = timedelta(seconds=15)


class SystemService:
    """Rows of `servers` and of `retention_horizons`."""

    def __init__(self, records: Records, clock: Clock, me: Server) -> None:
        self.me = me
        self._records = records
        self._clock = clock

    async def register(self) -> None:
        """Enter this process."""

        async def write(unit: Unit) -> None:
            unit.create(self.me)

        await self._housekeep(write)

    async def show_tiers(self, tiers: list[str]) -> None:
        """Let the others see which isolation tiers work here."""

        async def write(unit: Unit) -> None:
            mine = await unit.get(Server, self.me.id)
            await unit.update(mine, tiers=tiers)

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

    async def move_horizon(self, unit: Unit, horizon: int, made_before: datetime) -> RetentionHorizon:
        """Forwards only: IllegalState for a horizon before the present one."""
        id_ = horizon_id(unit.context.tenant_id)
        present = await unit.find(RetentionHorizon, id_)
        if present is None:
            made = RetentionHorizon(
                id=id_,
                tenant_id=unit.context.tenant_id,
                horizon=horizon,
                made_before=made_before,
                applied_at=unit.now,
            )
            return unit.create(made)
        if horizon < present.horizon:
            raise IllegalState(
                f"the retention horizon is at {present.horizon} and never goes back to {horizon}"
            )
        return await unit.update(present, horizon=horizon, made_before=made_before, applied_at=unit.now)

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
