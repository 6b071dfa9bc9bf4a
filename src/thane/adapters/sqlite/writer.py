"""One batch of write sets as one transaction: guards, rows, entries, commit.

The only code that writes. It runs in the loop's thread for small batches and in the
writer's for the rest, never in both at once; the committer sees to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import apsw
import msgspec

from thane.adapters.sqlite.compile import Table
from thane.adapters.sqlite.connection import commit_failed
from thane.adapters.sqlite.text import stored_words
from thane.adapters.sqlite.trees import Log, Trees, log_size
from thane.kernel.clock import Clock
from thane.kernel.errors import AlreadyExists, Conflict, Invalid, ThaneError
from thane.kernel.money import CONTEXT
from thane.kernel.records.engine import (
    Change,
    Committed,
    Guard,
    Increment,
    LogSize,
    Operation,
    Signed,
    SignRound,
    WriteSet,
)
from thane.kernel.records.schema import Schema

Answer = Committed | ThaneError


class Writer:
    """Owns the write connection."""

    def __init__(self, connection: apsw.Connection, tables: Mapping[str, Table], clock: Clock) -> None:
        self.connection = connection
        self.trees = Trees(connection)
        self._tables = tables
        self._clock = clock
        self._durable = False
        self._unsigned: set[str] | None = (
            None  # tenants whose tree grew since its last checkpoint; None: not known yet
        )

    # -- batches --------------------------------------------------------------------------

    def apply(self, batch: Sequence[WriteSet], *, durable: bool) -> tuple[list[Answer], int]:
        """Commit a batch: an answer for each, and how many entries were appended.

        A write set whose guard fails is answered with its error and the others go on; an
        error of the store itself is everyone's, and nothing of the batch is written.
        apsw.BusyError if the file is locked at the start.
        """
        self._synchronous(full=durable)
        self.connection.execute("BEGIN IMMEDIATE")
        logs: dict[str, Log] = {}
        try:
            answers = [self._one(write_set, logs) for write_set in batch]
            appended = self.trees.flush(list(logs.values()))
            self.connection.execute("COMMIT")
        except apsw.Error as error:
            self._roll_back()
            failure = commit_failed(error)
            return [failure] * len(batch), 0
        except BaseException:
            self._roll_back()
            raise
        if self._unsigned is not None:
            self._unsigned.update(logs)
        return answers, appended

    def _one(self, write_set: WriteSet, logs: dict[str, Log]) -> Answer:
        self.connection.execute("SAVEPOINT unit")
        mark = None
        try:
            for guard in write_set.guards:
                self._guard(guard, write_set.tenant_id)
            now_us = self._clock.now_us()
            log, index, time_us, digest = None, -1, now_us, None
            if write_set.draft is not None:
                log = self.trees.log(write_set.tenant_id)
                index = log.tree.size
            for change in write_set.changes:
                self._change(change, write_set.tenant_id, index)
            for increment in write_set.increments:
                self._increment(increment)
            if log is not None and write_set.draft is not None:
                mark = self.trees.mark(log)
                index, digest, time_us = self.trees.append(log, write_set.draft, now_us)
                logs[write_set.tenant_id] = log
            if write_set.place is not None:
                for change in write_set.place(index, time_us):
                    self._change(change, write_set.tenant_id, index)
        except ThaneError as refused:
            self.connection.execute("ROLLBACK TO unit")
            self.connection.execute("RELEASE unit")
            if mark is not None:
                self.trees.undo(mark)
            elif write_set.draft is not None and not self._has_log(write_set.tenant_id):
                # The savepoint took back a log that was begun in it.
                self.trees.drop(write_set.tenant_id)
            return refused
        self.connection.execute("RELEASE unit")
        return Committed(index=index if digest is not None else None, leaf_hash=digest, time_us=time_us)

    def _has_log(self, tenant_id: str) -> bool:
        found = self.connection.execute(
            "SELECT 1 FROM thane_logs WHERE tenant_id = ?", (tenant_id,)
        ).fetchone()
        return found is not None

    def _roll_back(self) -> None:
        self.trees.forget()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _synchronous(self, *, full: bool) -> None:
        if full is not self._durable:
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}").fetchall()
            self._durable = full

    # -- rows -----------------------------------------------------------------------------

    def _guard(self, guard: Guard, tenant_id: str) -> None:
        table = self._tables[guard.schema.table]
        args = (guard.id, tenant_id) if guard.schema.scoped else (guard.id,)
        row = self.connection.execute(table.guard, args).fetchone()
        if (0 if row is None else row[0]) != guard.version:
            raise Conflict(f"{guard.schema.table} {guard.id} has changed since it was read")

    def _change(self, change: Change, tenant_id: str, entry: int) -> None:
        table = self._tables[change.schema.table]
        scope = [tenant_id] if change.schema.scoped else []
        try:
            if change.operation is Operation.CREATE:
                self.connection.execute(table.insert, self._values(table, change, entry))
                self._index_text(table, change, created=True)
                return
            if change.operation is Operation.UPDATE:
                args = [*self._values(table, change, entry), change.id, change.expected, *scope]
                self.connection.execute(table.update, args)
            else:
                self._forget_text(table, change.id)
                self.connection.execute(table.delete, [change.id, change.expected, *scope])
            if self.connection.changes() != 1:
                raise Conflict(f"{table.name} {change.id} has changed since it was read")
            if change.operation is Operation.UPDATE:
                self._index_text(table, change, created=False)
        except apsw.ConstraintError as error:
            raise self._constraint(change, error) from error

    def _values(self, table: Table, change: Change, entry: int) -> list[Any]:
        row = table.dump(change.record)
        if table.schema.history:
            row += [change.salt, entry]
        row += [change.blind.get(f.name) for f in table.schema.fields if f.blind_index]
        return row

    def _index_text(self, table: Table, change: Change, *, created: bool) -> None:
        names = table.schema.text_fields
        if not names:
            return
        if not created:
            self._forget_text(table, change.id)
        columns = ", ".join(f'"{n}"' for n in names)
        self.connection.execute(
            f'INSERT INTO "{table.name}_text" (rowid, {columns}) '
            f'SELECT _rowid, {", ".join("?" * len(names))} FROM "{table.name}" WHERE "id" = ?',
            (*(stored_words(change.text.get(n, "")) for n in names), change.id),
        )

    def _forget_text(self, table: Table, id: str) -> None:
        if table.schema.text_fields:
            self.connection.execute(
                f'DELETE FROM "{table.name}_text" WHERE rowid = (SELECT _rowid FROM "{table.name}" WHERE "id" = ?)',
                (id,),
            )

    def _increment(self, increment: Increment) -> None:
        """Read, add exactly, write: the write lock is held, so nobody can come between."""
        table = self._tables[increment.schema.table]
        scoped = increment.schema.scoped
        args = (increment.id, increment.record.tenant_id) if scoped else (increment.id,)
        row = self.connection.execute(table.fetch(scoped), args).fetchone()
        current = increment.record if row is None else table.load(row).record
        values = {name: _plus(getattr(current, name), delta) for name, delta in increment.deltas.items()}
        made = msgspec.structs.replace(current, version=current.version + (row is not None), **values)
        operation = Operation.CREATE if row is None else Operation.UPDATE
        expected = 0 if row is None else current.version
        change = Change(operation, increment.schema, increment.id, made, expected, None, {}, {})
        self._change(change, getattr(made, "tenant_id", ""), -1)

    def _constraint(self, change: Change, error: apsw.ConstraintError) -> ThaneError:
        text = str(error)
        if "FOREIGN KEY" in text:
            return self._reference_failed(change)
        if "UNIQUE" in text:
            index = _index_of(change.schema, text)
            if index is None:
                return Conflict(f"{change.schema.table} {change.id} exists already")
            return AlreadyExists(index)
        return Invalid(f"{change.schema.table} refused the row: {text}")

    def _reference_failed(self, change: Change) -> ThaneError:
        for field in change.schema.fields:
            value = None if change.record is None else getattr(change.record, field.name)
            if field.references is None or value is None:
                continue
            found = self.connection.execute(
                f'SELECT 1 FROM "{field.references}" WHERE "id" = ?', (value,)
            ).fetchone()
            if found is None:
                return Invalid(f"{field.name}: there is no row {value} in {field.references}")
        return Invalid(
            f"{change.schema.table} {change.id} is still referred to",
            hint="Delete the rows that refer to it first.",
        )

    # -- signing --------------------------------------------------------------------------

    def sign(self, round: SignRound) -> list[Signed]:
        """A signing round as one transaction that is on the disk when it returns."""
        self._synchronous(full=True)
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            grown = self._grown()
            sizes = [LogSize(log.tenant_id, log.tree.size, log.tree.root()) for log in grown]
            signed = list(round(sizes, _Root(self.trees))) if sizes else []
            self.trees.flush([self.trees.root_log()])
            for made in signed:
                number = self.trees.log(made.tenant_id).number
                self.connection.execute(
                    "INSERT OR IGNORE INTO thane_checkpoints (log, size, note) VALUES (?, ?, ?)",
                    (number, made.size, made.note),
                )
            self.connection.execute("COMMIT")
            self._unsigned = set()
        except apsw.Error as error:
            self._roll_back()
            raise commit_failed(error) from error
        except BaseException:
            self._roll_back()
            raise
        return signed

    def _grown(self) -> list[Log]:
        """Logs whose newest entry is past their newest checkpoint."""
        if self._unsigned is None:
            rows = self.connection.execute(
                "SELECT l.tenant_id, l.number, (SELECT max(size) FROM thane_checkpoints c WHERE c.log = l.number) "
                "FROM thane_logs l WHERE l.number > 0"
            ).fetchall()
            self._unsigned = {
                t for t, number, size in rows if log_size(self.connection, number) > (size or 0)
            }
        return [self.trees.log(tenant_id) for tenant_id in sorted(self._unsigned)]


class _Root:
    """The root log inside a signing round."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._log = trees.root_log()

    def append(self, leaf: bytes) -> None:
        self._trees.append_root(leaf)

    @property
    def size(self) -> int:
        return self._log.tree.size

    def root(self) -> bytes:
        return self._log.tree.root()


def _plus(current: Any, delta: Any) -> Any:
    if isinstance(delta, Mapping):
        grown = dict(current)
        for key, part in delta.items():
            grown[key] = _plus(grown.get(key, 0), part)
        return grown
    if isinstance(delta, Decimal):
        return CONTEXT.add(Decimal(current), delta)
    if isinstance(current, str):  # a decimal inside JSON
        return str(CONTEXT.add(Decimal(current), Decimal(delta)))
    return current + delta


def _index_of(schema: Schema, message: str) -> str | None:
    """SQLite names the columns, not the index. None for the primary key."""
    listed = message.rpartition(": ")[2]
    columns = [c.strip().partition(".")[2] for c in listed.split(",")]
    if columns in (["id"], [""]):
        return None
    for index in schema.indexes:
        own = [_column(schema, c.removesuffix(" DESC")) for c in index.columns]
        if index.unique and own == columns:
            return index.name
    return "_".join(columns)


def _column(schema: Schema, name: str) -> str:
    field = schema.by_name.get(name)
    return f"{name}_blind" if field is not None and field.blind_index else name
