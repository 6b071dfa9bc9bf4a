"""Dead letters: what a consumer could not take, how often it was tried, and what becomes of it.

The row is written when something fails for the first time and goes when it went well, so
there are rows for failures only, and a restart forgets no attempt.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from thane.kernel.errors import IllegalState, NotFound
from thane.kernel.jobs.declare import Tools
from thane.kernel.jobs.entities import DeadLetter, LetterStatus, derived_id
from thane.kernel.jobs.rows import every
from thane.kernel.records.unit import Unit

# 0.2 s, doubled each time, five minutes at most.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 300.0
_MOST_ERROR_CHARS = 500


def letter_id(consumer: str, tenant_id: str, index: int) -> str:
    return derived_id("ded", consumer, tenant_id, index)


def pause(attempts: int) -> timedelta:
    """How long to wait after so many failures; a little by chance, so that many do not come at once."""
    seconds = min(FIRST_PAUSE_SECONDS * 2.0 ** (attempts - 1), LONGEST_PAUSE_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.75, 1.0))


class Letters:
    """The dead letters of one installation."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def failed(
        self, consumer: str, tenant_id: str, index: int, error: BaseException, attempts: int
    ) -> DeadLetter:
        """Write down one more failure; the letter is `dead` from `attempts` on."""

        async def note(unit: Unit) -> DeadLetter:
            known = await unit.find(DeadLetter, letter_id(consumer, tenant_id, index))
            tried = (0 if known is None else known.attempts) + 1
            dead = tried >= attempts
            values: dict[str, Any] = {
                "error": f"{type(error).__name__}: {error}"[:_MOST_ERROR_CHARS],
                "attempts": tried,
                "next_try": unit.now + pause(tried),
                "status": LetterStatus.DEAD if dead else LetterStatus.RETRYING,
            }
            if known is not None:
                return await unit.update(known, **values)
            made = DeadLetter(
                id=letter_id(consumer, tenant_id, index),
                tenant_id=tenant_id,
                consumer=consumer,
                entry_index=index,
                **values,
            )
            return unit.create(made)

        found: DeadLetter = await self._tools.housekeep(tenant_id, note)
        return found

    async def of(self, consumer: str) -> list[DeadLetter]:
        """All letters of a consumer, in every tenant."""
        engine = self._tools.records.engine
        return [row async for row in every(engine, DeadLetter, None, DeadLetter.consumer == consumer)]

    async def dead(self) -> list[DeadLetter]:
        """Everything that waits for a person."""
        engine = self._tools.records.engine
        dead = DeadLetter.status == LetterStatus.DEAD
        return [row async for row in every(engine, DeadLetter, None, dead)]

    async def retry(self, tenant_id: str, id: str) -> None:
        """Try a dead letter again, from its first attempt. NotFound, IllegalState."""
        await self._set(tenant_id, id, LetterStatus.RETRYING)

    async def skip(self, tenant_id: str, id: str) -> None:
        """Pass its entry over: what would have been made of it stays undone. NotFound, IllegalState."""
        await self._set(tenant_id, id, LetterStatus.SKIPPED)

    async def _set(self, tenant_id: str, id: str, status: LetterStatus) -> None:
        async def change(unit: Unit) -> None:
            row = await unit.find(DeadLetter, id)
            if row is None:
                raise NotFound(f"there is no dead letter {id}", hint="It may have gone well meanwhile.")
            if row.status is not LetterStatus.DEAD:
                raise IllegalState(f"the letter {id} is {row.status.value}, not dead")
            await unit.update(row, status=status, attempts=0, next_try=unit.now)

        await self._tools.housekeep(tenant_id, change)

    async def drop(self, unit: Unit, consumer: str, tenant_id: str, index: int) -> None:
        """In the unit that moves on: whatever failed there has gone well, or was skipped."""
        known = await unit.find(DeadLetter, letter_id(consumer, tenant_id, index))
        if known is not None:
            await unit.delete(known)
