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
from thane.adapters.sqlite.trees import Log, Mark, Trees, log_size
from thane.kernel.clock import Clock
from thane.kernel.errors import AlreadyExists, Conflict, Invalid, ThaneError
from thane.kernel.money import CONTEXT
from thane.kernel.records.checks import check_record
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
from thane.kernel.records.predicate import matches
from thane.kernel.records.schema import Schema

Answer = Committed | Exception


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

        A write set that is refused is answered with its error and the others go on; an
        error of the store itself is everyone's, and nothing of the batch is written.
        apsw.BusyError if the file is locked.
        """
        grown: dict[str, Log] = {}
        try:
            self._begin(full=durable)
            if len(batch) == 1:
                answers = [self._alone(batch[0], grown)]
            else:
                answers = [self._beside_others(write_set, grown) for write_set in batch]
            appended = self.trees.flush(list(grown.values()))
            if self.connection.in_transaction:
                self.connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if not isinstance(error, apsw.Error) or isinstance(error, apsw.BusyError):
                raise
            return [commit_failed(error) for _ in batch], 0
        if self._unsigned is not None:
            self._unsigned.update(grown)
        return answers, appended

    def _alone(self, write_set: WriteSet, grown: dict[str, Log]) -> Answer:
        """The only one of its batch needs no savepoint: the transaction is its own."""
        answer = self._one(write_set, grown)
        if isinstance(answer, Exception):
            self.connection.execute("ROLLBACK")
        return answer

    def _beside_others(self, write_set: WriteSet, grown: dict[str, Log]) -> Answer:
        self.connection.execute("SAVEPOINT unit")
        answer = self._one(write_set, grown)
        if isinstance(answer, Exception):
            self.connection.execute("ROLLBACK TO unit")
        self.connection.execute("RELEASE unit")
        return answer

    def _one(self, write_set: WriteSet, grown: dict[str, Log]) -> Answer:
        """Do one write set.

        If it is refused, the trees are as before; its rows are the caller's to take back.
        """
        self.trees.begun = None
        marks: list[Mark] = []
        try:
            committed = self._write(write_set, marks)
        except Exception as error:
            refused = _refusal(error)
            if refused is None:
                raise
            for mark in marks:
                self.trees.undo(mark)
            self.trees.undo_begin()
            return refused
        if write_set.draft is not None:
            grown[write_set.tenant_id] = self.trees.log(write_set.tenant_id)
        return committed

    def _write(self, write_set: WriteSet, marks: list[Mark]) -> Committed:
        tenant_id, draft = write_set.tenant_id, write_set.draft
        for guard in write_set.guards:
            self._guard(guard, tenant_id)
        time_us = self._clock.now_us()
        log = None if draft is None else self.trees.log(tenant_id)
        index = -1 if log is None else log.tree.size
        for change in write_set.changes:
            self._change(change, tenant_id, index)
        for increment in write_set.increments:
            self._increment(increment)
        digest = None
        if log is not None and draft is not None:
            marks.append(self.trees.mark(log))
            index, digest, time_us = self.trees.append(log, draft, time_us)
        if write_set.place is not None:
            for change in write_set.place(index, time_us):
                self._change(change, tenant_id, index)
        return Committed(index=None if digest is None else index, leaf_hash=digest, time_us=time_us)

    def _begin(self, *, full: bool) -> None:
        self._synchronous(full=full)
        self.connection.execute("BEGIN IMMEDIATE")

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
                row = table.dump(change.record)
                row += self._hidden(table, change, entry)
                row += [change.blind.get(f.name) for f in table.schema.fields if f.blind_index]
                self.connection.execute(table.insert, row)
                self._index_text(table, change)
                return
            if change.operation is Operation.UPDATE:
                update = table.update(change.changed)
                row = table.dump(change.record, update.fields)
                row += self._hidden(table, change, entry)
                row += [change.blind.get(name) for name in update.blind]
                self.connection.execute(update.text, [*row, change.id, change.expected, *scope])
            else:
                self._forget_text(table, change.id)
                self.connection.execute(table.delete, [change.id, change.expected, *scope])
            if self.connection.changes() != 1:
                raise Conflict(f"{table.name} {change.id} has changed since it was read")
            if change.operation is Operation.UPDATE and change.text:
                self._forget_text(table, change.id)
                self._index_text(table, change)
        except apsw.ConstraintError as error:
            raise self._constraint(change, error) from error

    def _hidden(self, table: Table, change: Change, entry: int) -> list[Any]:
        return [change.salt, entry] if table.schema.history else []

    def _index_text(self, table: Table, change: Change) -> None:
        names = table.schema.text_fields
        if not names:
            return
        columns = ", ".join(f'"{n}"' for n in names)
        self.connection.execute(
            f'INSERT INTO "{table.name}_text" (rowid, {columns}) '
            f'SELECT _rowid, {", ".join("?" * len(names))} FROM "{table.name}" WHERE "id" = ?',
            (*(stored_words(change.text.get(n, "")) for n in names), change.id),
        )

    def _forget_text(self, table: Table, id: str) -> None:
        if table.schema.text_fields:
            self.connection.execute(
                f'DELETE FROM "{table.name}_text" WHERE rowid = '
                f'(SELECT _rowid FROM "{table.name}" WHERE "id" = ?)',
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
        check_record(increment.schema, made)  # a sum may have grown past its column
        operation = Operation.CREATE if row is None else Operation.UPDATE
        expected = 0 if row is None else current.version
        changed = frozenset(values)
        change = Change(operation, increment.schema, increment.id, made, expected, None, {}, {}, changed)
        self._change(change, getattr(made, "tenant_id", ""), -1)

    def _constraint(self, change: Change, error: apsw.ConstraintError) -> ThaneError:
        text = str(error)
        if "FOREIGN KEY" in text:
            return self._reference_failed(change)
        if "UNIQUE" in text:
            index = _index_of(change, text)
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
        try:
            grown = self._grown()
            if not grown:
                return []
            self._settle_log()
            self._begin(full=True)
            sizes = [LogSize(log.tenant_id, log.tree.size, log.tree.root()) for log in grown]
            signed = list(round(sizes, _Root(self.trees)))
            self.trees.flush([self.trees.root_log()])
            for made in signed:
                number = self.trees.log(made.tenant_id).number
                self.connection.execute(
                    "INSERT OR IGNORE INTO thane_checkpoints (log, size, note) VALUES (?, ?, ?)",
                    (number, made.size, made.note),
                )
            self.connection.execute("COMMIT")
            # What the round left out, or signed at an older size, is offered again.
            reached = {made.tenant_id: made.size for made in signed}
            self._unsigned = {s.tenant_id for s in sizes if reached.get(s.tenant_id, 0) < s.size}
        except apsw.Error as error:
            self._roll_back()
            raise commit_failed(error) from error
        except BaseException:
            self._roll_back()
            raise
        return signed

    def _settle_log(self) -> None:
        """Have all that was committed on the disk before it is signed, also what was committed without."""
        self._begin(full=True)
        self.connection.execute(
            "INSERT INTO thane_meta (key, value) VALUES ('signing', '1') "
            "ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
        )
        self.connection.execute("COMMIT")

    def _grown(self) -> list[Log]:
        """Logs whose newest entry is past their newest checkpoint."""
        if self._unsigned is None:
            rows: list[Any] = self.connection.execute(
                "SELECT l.tenant_id, l.number, "
                "(SELECT max(size) FROM thane_checkpoints c WHERE c.log = l.number) "
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
    if current is None:  # a number that was never set
        current = 0
    if isinstance(delta, Mapping):
        grown = dict(current or {})
        for key, part in delta.items():
            grown[key] = _plus(grown.get(key, 0), part)
        return grown
    if isinstance(delta, Decimal):
        return CONTEXT.add(Decimal(current), delta)
    if isinstance(current, str):  # a decimal inside JSON
        return str(CONTEXT.add(Decimal(current), Decimal(delta)))
    return current + delta


def _refusal(error: Exception) -> Exception | None:
    """What one write set is told if its error is its own; None for the store's, which is everyone's."""
    if isinstance(error, apsw.TooBigError):
        return Invalid("a row of this is too large for the store", hint="Keep large content in files.")
    if isinstance(error, apsw.Error) and not isinstance(error, _OF_ONE):
        return None
    return error


# Errors of a statement or its values, after which the transaction still stands.
_OF_ONE = (apsw.ConstraintError, apsw.MismatchError, apsw.RangeError, apsw.SQLError)


def _index_of(change: Change, message: str) -> str | None:
    """SQLite names the columns, not the index. None for the primary key."""
    schema, record = change.schema, change.record
    listed = message.rpartition(": ")[2]
    columns = [c.strip().partition(".")[2] for c in listed.split(",")]
    if columns in (["id"], [""]):
        return None
    for index in schema.indexes:
        own = [_column(schema, c.removesuffix(" DESC")) for c in index.columns]
        held = index.where is None or matches(index.where, lambda name: getattr(record, name))
        if index.unique and own == columns and held:
            return index.name
    return "_".join(columns)


def _column(schema: Schema, name: str) -> str:
    field = schema.by_name.get(name)
    return f"{name}_blind" if field is not None and field.blind_index else name
