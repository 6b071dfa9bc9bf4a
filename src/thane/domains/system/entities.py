"""Processes that serve this store, one row each."""

from __future__ import annotations

from datetime import datetime

from thane.kernel.records import Field, Index, Record, entity, field, key


@entity("servers", "srv", Index("last_seen_at DESC"), scoped=False, history=False)
class Server(Record):
    """A live process. `last_seen_at` moves every few seconds; one that stands still is dead."""

    id: Field[str] = key()
    host: Field[str] = field()
    pid: Field[int] = field()
    role: Field[str] = field(default="server")
    release: Field[str] = field()
    tiers: Field[list[str]] = field(default_factory=list)
    started_at: Field[datetime] = field()
    last_seen_at: Field[datetime] = field()
