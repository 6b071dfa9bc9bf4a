"""The ledger's tables on SQLite: trees in memory, entries and tiles to rows, and back.

A tree's edge is not stored: it follows from the full tiles and the hashes after the
last of them, and is made when the tree is first used. All methods run in whichever
thread holds the write connection.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from thane.kernel.ledger.leaf import Changes, Head, Kind, Leaf, sealed_digest
from thane.kernel.ledger.tree import Snapshot, TreeState, leaf_hash
from thane.kernel.records.engine import BareEntry, EntryDraft, EntryRow

LOG_SHIFT = 40
ROOT_LOG = 0
_encode_bodies = msgspec.msgpack.Encoder().encode
_decode_bodies = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_heads = msgspec.json.Decoder(list[Head]).decode


class Log:
    """One tenant's log: its number, its tree, and the time of its last leaf."""

    __slots__ = ("last_time", "number", "tenant_id", "tree")

    def __init__(self, number: int, tenant_id: str, tree: TreeState, last_time: int) -> None:
        self.number = number
        self.tenant_id = tenant_id
        self.tree = tree
        self.last_time = last_time


Mark = tuple[Log, Snapshot, int, int]


class Trees:
    """The logs that were used since the store was opened.

    `begun` names the tenant whose log `log` has begun since it was last set to None: what
    is to be dropped if the unit is taken back.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._logs: dict[str, Log] = {}
        self._rows: list[tuple[object, ...]] = []
        self.begun: str | None = None

    def forget(self) -> None:
        """After a failed transaction: what memory holds may be ahead of the store, so it is read again."""
        self._logs.clear()
        self._rows.clear()

    def undo_begin(self) -> None:
        """Forget the log that was begun in a unit which is taken back."""
        if self.begun is not None:
            self._logs.pop(self.begun, None)

    def log(self, tenant_id: str) -> Log:
        """The tenant's log, begun if it has none."""
        known = self._logs.get(tenant_id)
        if known is None:
            row = self._connection.execute(
                "SELECT number FROM thane_logs WHERE tenant_id = ?", (tenant_id,)
            ).fetchone()
            if row is None:
                self._connection.execute("INSERT INTO thane_logs (tenant_id) VALUES (?)", (tenant_id,))
                row = (self._connection.last_insert_rowid(),)
                self.begun = tenant_id
            known = self._logs[tenant_id] = self._restore(row[0], tenant_id)
        return known

    def root_log(self) -> Log:
        return self.log("")

    def _restore(self, number: int, tenant_id: str) -> Log:
        low, high = number << LOG_SHIFT, (number + 1) << LOG_SHIFT
        size = log_size(self._connection, number)
        last_time = 0
        if size and number != ROOT_LOG:
            leaf = self._connection.execute(
                "SELECT leaf FROM thane_entries WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
                (low, high),
            ).get
            last_time = msgspec.json.decode(leaf, type=Leaf).time
        tree = TreeState.restore_from(
            size,
            lambda level, n: full_tile(self._connection, number, level, n),
            lambda start, stop: leaf_hashes(self._connection, number, start, stop),
        )
        return Log(number, tenant_id, tree, last_time)

    # -- appending --------------------------------------------------------------------------

    def append(self, log: Log, draft: EntryDraft, now_us: int) -> tuple[int, bytes, int]:
        """Place an entry: (index, leaf hash, time). It is written by `flush`."""
        time_us = max(now_us, log.last_time)
        heads = [h.encode() for h in draft.heads]
        leaf = Leaf(
            actor=draft.actor,
            changes=Changes.of(heads),
            details=None if draft.details is None else sealed_digest(draft.details),
            intent=draft.intent,
            kind=Kind(draft.kind),
            operation=draft.operation,
            outcome=draft.outcome,
            project=draft.project,
            request=draft.request,
            resource=draft.resource,
            run=draft.run,
            seq=log.tree.size,
            tenant=log.tenant_id,
            time=time_us,
        ).encode()
        bodies = _encode_bodies(draft.bodies) if draft.bodies else None
        shown = f"[{b','.join(heads).decode()}]" if heads else None
        index, digest = self._place(log, leaf, shown, bodies, draft.details)
        log.last_time = time_us
        return index, digest, time_us

    def append_root(self, leaf: bytes) -> None:
        """Place a leaf of the root log."""
        self._place(self.root_log(), leaf, None, None, None)

    def _place(
        self, log: Log, leaf: bytes, heads: str | None, bodies: bytes | None, details: bytes | None
    ) -> tuple[int, bytes]:
        index, digest = log.tree.size, leaf_hash(leaf)
        log.tree.append(digest)
        self._rows.append((log.number << LOG_SHIFT | index, leaf.decode(), digest, heads, bodies, details))
        return index, digest

    def mark(self, log: Log) -> Mark:
        """Where the log stands before a unit; `undo` goes back to it."""
        return log, log.tree.snapshot(), log.last_time, len(self._rows)

    def undo(self, mark: Mark) -> None:
        """Back to where `mark` was made."""
        log, snapshot, last_time, rows = mark
        log.tree.restore(snapshot)
        log.last_time = last_time
        del self._rows[rows:]

    def flush(self, logs: Sequence[Log]) -> int:
        """Write what was placed; the number of entries."""
        count = len(self._rows)
        if count:
            self._connection.executemany(
                "INSERT INTO thane_entries (id, leaf, hash, heads, bodies, details) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                self._rows,
            )
            self._rows.clear()
        for log in logs:
            for tile in log.tree.take_tiles():
                self._connection.execute(
                    "INSERT INTO thane_tiles (log, level, n, data) VALUES (?, ?, ?, ?)",
                    (log.number, tile.level, tile.n, tile.data),
                )
        return count


# -- reading, on any connection --------------------------------------------------------------


def log_number(connection: apsw.Connection, tenant_id: str) -> int | None:
    row = connection.execute("SELECT number FROM thane_logs WHERE tenant_id = ?", (tenant_id,)).fetchone()
    return None if row is None else row[0]


def log_size(connection: apsw.Connection, number: int) -> int:
    """Number of entries; indexes have no gaps, which `thane verify` checks."""
    low, high = number << LOG_SHIFT, (number + 1) << LOG_SHIFT
    row = connection.execute(
        "SELECT max(id) FROM thane_entries WHERE id >= ? AND id < ?", (low, high)
    ).fetchone()
    return 0 if row is None or row[0] is None else int(row[0]) - low + 1


def full_tile(connection: apsw.Connection, number: int, level: int, n: int) -> bytes:
    row = connection.execute(
        "SELECT data FROM thane_tiles WHERE log = ? AND level = ? AND n = ?", (number, level, n)
    ).fetchone()
    return b"" if row is None else bytes(row[0])


def leaf_hashes(connection: apsw.Connection, number: int, start: int, stop: int) -> bytes:
    low = number << LOG_SHIFT
    rows = connection.execute(
        "SELECT hash FROM thane_entries WHERE id >= ? AND id < ? ORDER BY id", (low + start, low + stop)
    )
    return b"".join(r[0] for r in rows)


def entries(connection: apsw.Connection, number: int, start: int, limit: int) -> list[EntryRow]:
    low, high = number << LOG_SHIFT, (number + 1) << LOG_SHIFT
    rows = connection.execute(
        "SELECT id, leaf, hash, heads, bodies, details FROM thane_entries "
        "WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (low + start, high, limit),
    )
    return [_entry(low, *row) for row in rows]


def entries_at(connection: apsw.Connection, number: int, indexes: Sequence[int]) -> list[EntryRow]:
    low = number << LOG_SHIFT
    # Only marks for values are written into the text.
    marks = ", ".join("?" * len(indexes))
    rows = connection.execute(
        f"SELECT id, leaf, hash, heads, bodies, details FROM thane_entries WHERE id IN ({marks}) ORDER BY id",
        [low + index for index in indexes],
    )
    return [_entry(low, *row) for row in rows]


def _entry(
    low: int,
    id: int,
    leaf: str,
    digest: bytes,
    heads: str | None,
    bodies: bytes | None,
    details: bytes | None,
) -> EntryRow:
    return EntryRow(
        index=id - low,
        leaf=leaf.encode(),
        leaf_hash=digest,
        heads=() if heads is None else tuple(_decode_heads(heads)),
        bodies=() if bodies is None else tuple(_decode_bodies(bodies)),
        details=details,
    )


def bare_entries(connection: apsw.Connection, number: int, start: int, limit: int) -> list[BareEntry]:
    low, high = number << LOG_SHIFT, (number + 1) << LOG_SHIFT
    rows = connection.execute(
        "SELECT id - ?, leaf, hash, heads, bodies, details FROM thane_entries "
        "WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (low, low + start, high, limit),
    )
    return [(i, leaf, h, heads, _decode_bodies(b) if b else (), d) for i, leaf, h, heads, b, d in rows]


def blanked(bodies: bytes, empty: Sequence[int]) -> bytes:
    """Stored bodies with some of them emptied."""
    wanted = set(empty)
    return _encode_bodies([b"" if i in wanted else body for i, body in enumerate(_decode_bodies(bodies))])
