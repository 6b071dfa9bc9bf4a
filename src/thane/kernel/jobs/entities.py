"""Rows of the jobs. None has history: they say where a job stands, not what was done.

Ids are derived from what they stand for, so that a race for one thing is a race for one
row, which the store's compare-and-set decides; no unique index is needed beside that.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from thane.kernel.clock import EPOCH
from thane.kernel.records.entity import Field, Index, Record, entity, field, key


class CursorState(StrEnum):
    READY = "ready"
    DROPPING = "dropping"  # a rebuild removes the old rows before it starts from the first entry


@entity("job_cursors", "cur", Index("consumer"), history=False)
class JobCursor(Record):
    """How far a consumer has read a tenant's entries: `position` is the index of the next one."""

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    consumer: Field[str] = field()
    position: Field[int] = field(default=0)
    state: Field[CursorState] = field(default=CursorState.READY)


@entity("leases", "lse", scoped=False, history=False)
class LeaseRow(Record):
    """Who may do the thing called `name`, until when. `fence` grows each time it changes hands."""

    id: Field[str] = key()
    name: Field[str] = field()
    holder: Field[str] = field()
    fence: Field[int] = field()
    until: Field[datetime] = field()


@entity("schedules", "sch", scoped=False, history=False)
class ScheduleRow(Record):
    """When a schedule fires next. `cron` is what `next_due` was reckoned from."""

    id: Field[str] = key()
    name: Field[str] = field()
    cron: Field[str] = field()
    next_due: Field[datetime] = field()
    last_run: Field[datetime | None] = field(default=None)


class LetterStatus(StrEnum):
    RETRYING = "retrying"
    DEAD = "dead"
    SKIPPED = "skipped"  # a person has decided that the entry is to be passed over


@entity(
    "dead_letters",
    "ded",
    Index("consumer", "status", "next_try"),
    history=False,
)
class DeadLetter(Record):
    """An entry (or a firing) that a consumer could not take; there is none for what went well.

    For a schedule, `entry_index` is the due time in microseconds.
    """

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    consumer: Field[str] = field()
    entry_index: Field[int] = field()
    error: Field[str] = field()
    attempts: Field[int] = field(default=0)
    next_try: Field[datetime] = field(default=EPOCH)
    status: Field[LetterStatus] = field(default=LetterStatus.RETRYING)


ENTITIES = (JobCursor, LeaseRow, ScheduleRow, DeadLetter)


def derived_id(prefix: str, *parts: object) -> str:
    """The id of the one row that stands for `parts`; a digest, so it holds any text in few characters."""
    text = "\0".join(str(part) for part in parts)
    return f"{prefix}_{sha256(text.encode()).hexdigest()[:32]}"


def entry_row_id(prefix: str, tenant_id: str, index: int, n: int, time_us: int) -> str:
    """The id of the `n`th row that a projection makes of an entry: the same at every rebuild.

    It has the form of a UUIDv7 of the leaf's time, so that rows order by time as others do;
    of entries of one microsecond, the low bits of the index come first.
    """
    milliseconds, fraction = divmod(time_us, 1000)
    high = (milliseconds << 16) | 0x7000 | (fraction << 12) // 1000
    digest = sha256(f"{tenant_id}\0{index}\0{n}".encode()).digest()
    low = 0x8000_0000_0000_0000 | (index & 0xFFFF) << 46 | int.from_bytes(digest[:8], "big") >> 18
    return f"{prefix}_{high:016x}{low:016x}"
