"""The store port on SQLite: one file, one process, WAL.

Reads go to `Reader`, writes through `Committer` to `Writer`; this module only puts the
statement and its values together. It must not decide anything of the records' rules.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from thane.adapters.sqlite import compile as compiler
from thane.adapters.sqlite import trees
from thane.adapters.sqlite.aggregates import measure_decoder
from thane.adapters.sqlite.codecs import decoder
from thane.adapters.sqlite.committer import Committer
from thane.adapters.sqlite.compile import Table
from thane.adapters.sqlite.connection import commit_failed, connect, make_private
from thane.adapters.sqlite.ddl import LEDGER, render
from thane.adapters.sqlite.presence import Presence
from thane.adapters.sqlite.reader import Observe, Reader
from thane.adapters.sqlite.text import match_text
from thane.adapters.sqlite.wal import WriteAheadLog
from thane.adapters.sqlite.walking import goes_on, walk_along
from thane.adapters.sqlite.writer import Writer
from thane.kernel.clock import Clock
from thane.kernel.errors import MigrationFailed, NotFound, ThaneError
from thane.kernel.ledger.tree import FullTileReader, LeafHashReader
from thane.kernel.records.engine import (
    BareEntry,
    BareRow,
    Committed,
    EntryRow,
    Figures,
    Hop,
    Measure,
    Selection,
    Signed,
    SignRound,
    Stored,
    Walk,
    Walked,
    WriteSet,
)
from thane.kernel.records.schema import Registry, Schema
from thane.kernel.records.steps import Step
from thane.kernel.records.text import TextQuery

T = TypeVar("T")
log = logging.getLogger(__name__)


class SqliteEngine:
    """See `thane.kernel.records.engine.Engine` for what each method promises."""

    name = "sqlite"

    def __init__(
        self,
        path: Path,
        registry: Registry,
        clock: Clock,
        *,
        durability: str = "normal",
        observe: Observe | None = None,
        vfs: str | None = None,
        readonly: bool = False,
    ) -> None:
        """`readonly` opens a store beside its owner: every write is then a TypeError."""
        self.path = path
        self._readonly = readonly
        self._clock = clock
        self._durable = durability == "full"
        self._observe = observe
        self._vfs = vfs
        self._tables = {s.table: Table(s) for s in registry.all()}
        self._wakers: list[Callable[[], None]] = []

    async def open(self) -> None:
        if self._readonly:
            self._reader = Reader(self.path, self._observe, self._vfs, readonly=True)
            return
        make_private(self.path)
        connection = connect(self.path, vfs=self._vfs)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement in LEDGER:
                connection.execute(statement)
            connection.execute("COMMIT")
            self._reader = Reader(self.path, self._observe, self._vfs)
        except apsw.Error as error:
            connection.close(True)
            raise commit_failed(error) from error
        except ThaneError:
            connection.close(True)
            raise
        self._presence = Presence(self.path, self._vfs)
        self._writer = Writer(connection, self._tables, self._clock)
        self._committer = Committer(self._writer, durable=self._durable, appended=self._appended)
        self.wal = WriteAheadLog(self.path, self._vfs, connection, self._committer.exclusively)
        self._reader.share(connection, self._committer.resting)

    async def close(self) -> None:
        if self._readonly:
            self._reader.close()
            return
        await self._committer.close()
        await self.wal.close()
        self._reader.close()
        try:
            self._writer.connection.close()
        except apsw.Error as error:
            # The last one out copies the log back; where the disk refuses, the next one in reads it.
            log.warning("the write-ahead log could not be copied back: %s", error)
            self._writer.connection.close(True)

    async def check(self) -> None:
        await asyncio.to_thread(self._presence.check)

    # -- schema ---------------------------------------------------------------------------

    async def apply_steps(self, steps: Sequence[Step], digest: str) -> None:
        def work() -> None:
            connection = self._writer.connection
            statement = ""
            try:
                connection.execute("BEGIN IMMEDIATE")
                for statement in render(steps):
                    connection.execute(statement)
                connection.execute(
                    "INSERT OR REPLACE INTO thane_meta (key, value) VALUES ('schema', ?)", (digest,)
                )
                connection.execute("COMMIT")
            except (apsw.Error, ThaneError, TypeError, ValueError) as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise MigrationFailed(f"{error} in: {statement or 'the steps'}") from error

        await self._writes().exclusively(work)

    async def schema_digest(self) -> str | None:
        rows = await self._reader.rows(
            "SELECT value FROM thane_meta WHERE key = 'schema'", (), "thane_meta", "get"
        )
        return rows[0][0] if rows else None

    # -- reads ----------------------------------------------------------------------------

    async def fetch(self, schema: Schema, tenant_id: str | None, id: str) -> Stored | None:
        table = self._tables[schema.table]
        args = (id,) if tenant_id is None else (id, tenant_id)
        rows = await self._reader.rows(table.fetch(tenant_id is not None), args, table.name, "get")
        return table.load(rows[0]) if rows else None

    async def fetch_blind(self, schema: Schema, field: str, index: bytes) -> Stored | None:
        table = self._tables[schema.table]
        sql = f'SELECT {table.columns} FROM "{table.name}" WHERE "{schema.by_name[field].name}_blind" = ?'
        rows = await self._reader.rows(sql, (index,), table.name, "get")
        return table.load(rows[0]) if rows else None

    async def select(self, selection: Selection) -> list[Stored]:
        table = self._tables[selection.schema.table]
        sql, args = self._selecting(selection)
        return [table.load(r) for r in await self._reader.rows(sql, args, table.name, "list")]

    def _selecting(self, selection: Selection) -> tuple[str, list[Any]]:
        table = self._tables[selection.schema.table]
        sql = table.select(selection.where, selection.order, selection.tenant_id is not None)
        return sql, [*self._scope_and_values(table, selection), selection.limit]

    async def walk(self, walk: Walk) -> Walked[Stored]:
        return await walk_along(self._reader, self._tables[walk.schema.table], walk)

    async def has_more(self, walk: Walk, count: int) -> bool:
        return await goes_on(self._reader, self._tables[walk.schema.table], walk, count)

    async def count(self, selection: Selection) -> int:
        table = self._tables[selection.schema.table]
        sql = table.count(selection.where, selection.tenant_id is not None)
        rows = await self._reader.rows(sql, self._scope_and_values(table, selection), table.name, "count")
        return int(rows[0][0])

    async def aggregate(
        self, selection: Selection, by: tuple[str, ...], measures: Mapping[str, Measure]
    ) -> list[dict[str, Any]]:
        sql, args = self._aggregation(selection, by, measures)
        rows = await self._reader.rows(sql, args, selection.schema.table, "aggregate")
        return _groups(rows, selection, by, measures)

    async def ask(self, questions: Sequence[Selection | Figures]) -> list[list[Any]]:
        statements = [
            self._selecting(q)
            if isinstance(q, Selection)
            else self._aggregation(q.selection, q.by, q.measures)
            for q in questions
        ]
        found = await self._reader.several(statements)
        return [
            [self._tables[q.schema.table].load(r) for r in rows]
            if isinstance(q, Selection)
            else _groups(rows, q.selection, q.by, q.measures)
            for q, rows in zip(questions, found, strict=True)
        ]

    def _aggregation(
        self, selection: Selection, by: tuple[str, ...], measures: Mapping[str, Measure]
    ) -> tuple[str, list[Any]]:
        table = self._tables[selection.schema.table]
        sql = table.aggregate(selection.where, by, measures, selection.tenant_id is not None)
        return sql, self._scope_and_values(table, selection)

    async def search(self, selection: Selection, query: TextQuery) -> list[Stored]:
        table = self._tables[selection.schema.table]
        sql = table.search(selection.where, selection.tenant_id is not None)
        args = [match_text(query), *self._scope_and_values(table, selection), selection.limit]
        # FTS5 merges its lists in one step of SQLite's, however long they are.
        rows = await self._reader.rows(sql, args, table.name, "search", inline=False)
        return [table.load(r) for r in rows]

    async def traverse(
        self, start: Schema, tenant_id: str, id: str, hops: Sequence[Hop], limit: int
    ) -> list[Stored]:
        sql, end = compiler.traverse(self._tables, start, hops)
        args: list[Any] = [id, *[tenant_id] * (len(hops) + 1), limit]
        return [end.load(r) for r in await self._reader.rows(sql, args, end.name, "traverse")]

    def _scope_and_values(self, table: Table, selection: Selection) -> list[Any]:
        scope = [] if selection.tenant_id is None else [selection.tenant_id]
        return scope + table.bind(selection.where)

    # -- writes ---------------------------------------------------------------------------

    def _writes(self) -> Committer:
        if self._readonly:
            raise TypeError("this store was opened read-only, beside its owner")
        return self._committer

    async def commit(self, write_set: WriteSet) -> Committed:
        return await self._writes().commit(write_set)

    def ride(self, write_set: WriteSet) -> None:
        self._writes().ride(write_set)

    def _appended(self, count: int) -> None:
        del count
        for callback in list(self._wakers):
            try:
                callback()
            except Exception:
                log.exception("a reader of the feed failed when it was woken")
        self.wal.bound()

    # -- ledger ---------------------------------------------------------------------------

    async def entries(self, tenant_id: str, start: int, limit: int) -> list[EntryRow]:
        return await self._log(tenant_id, lambda c, number: trees.entries(c, number, start, limit))

    async def _log(self, tenant_id: str, work: Callable[[apsw.Connection, int], list[T]]) -> list[T]:
        """Read something of a tenant's log; nothing where it has none."""

        def run(connection: apsw.Connection) -> list[T]:
            number = trees.log_number(connection, tenant_id)
            return [] if number is None else work(connection, number)

        return await self._reader.pooled(run)

    async def entries_at(self, tenant_id: str, indexes: Sequence[int]) -> list[EntryRow]:
        return await self._log(tenant_id, lambda c, number: trees.entries_at(c, number, indexes))

    async def bare_entries(self, tenant_id: str, start: int, limit: int) -> list[BareEntry]:
        return await self._log(tenant_id, lambda c, number: trees.bare_entries(c, number, start, limit))

    async def bare_rows(
        self,
        schema: Schema,
        tenant_id: str | None,
        fields: Sequence[str],
        after: str,
        until: str | None,
        limit: int | None = None,
    ) -> list[BareRow]:
        part = bool(after) or until is not None or limit is not None
        text, make = self._tables[schema.table].bare(
            tuple(fields), tenant_id is not None, until is not None, by_id=part
        )
        args: list[Any] = [value for value in (after, until, tenant_id) if value is not None]
        args.append(-1 if limit is None else limit)

        def work(connection: apsw.Connection) -> list[BareRow]:
            rows = connection.execute(text, args).fetchall()
            return rows if make is None else list(map(make, rows))

        return await self._reader.pooled(work)

    async def log_size(self, tenant_id: str) -> int:
        return sum(await self._log(tenant_id, lambda c, number: [trees.log_size(c, number)]))

    async def logs(self) -> list[str]:
        sql = "SELECT tenant_id FROM thane_logs WHERE number > 0 ORDER BY number"
        return [r[0] for r in await self._reader.rows(sql, (), "thane_logs", "list")]

    async def with_tree(self, tenant_id: str, work: Callable[[int, FullTileReader, LeafHashReader], T]) -> T:
        def run(connection: apsw.Connection) -> T:
            number = trees.log_number(connection, tenant_id)
            known = -1 if number is None else number
            return work(
                trees.log_size(connection, known),
                lambda level, n: trees.full_tile(connection, known, level, n),
                lambda start, stop: trees.leaf_hashes(connection, known, start, stop),
            )

        return await self._reader.pooled(run)

    async def sign(self, round: SignRound) -> list[Signed]:
        return await self._writes().exclusively(lambda: self._writer.sign(round))

    async def checkpoints(self, tenant_id: str, limit: int = 1) -> list[Signed]:
        sql = (
            "SELECT c.size, c.note FROM thane_checkpoints c JOIN thane_logs l ON l.number = c.log "
            "WHERE l.tenant_id = ? ORDER BY c.size DESC LIMIT ?"
        )
        rows = await self._reader.rows(sql, (tenant_id, limit), "thane_checkpoints", "list")
        return [Signed(tenant_id, size, note) for size, note in rows]

    async def last_head(self, tenant_id: str, table: str, id: str) -> int | None:
        def work(connection: apsw.Connection) -> int | None:
            number = trees.log_number(connection, tenant_id)
            if number is None:
                return None
            low, high = number << trees.LOG_SHIFT, (number + 1) << trees.LOG_SHIFT
            row = connection.execute(
                "SELECT e.id FROM thane_entries e, json_each(e.heads) h WHERE e.id >= ? AND e.id < ? "
                "AND json_extract(h.value, '$.schema') = ? AND json_extract(h.value, '$.id') = ? "
                "ORDER BY e.id DESC LIMIT 1",
                (low, high, table, id),
            ).get
            return None if row is None else int(row) - low

        return await self._reader.pooled(work)

    async def blank(self, tenant_id: str, index: int, bodies: Sequence[int], details: bool) -> None:
        def work() -> None:
            connection = self._writer.connection
            number = trees.log_number(connection, tenant_id)
            key = (-1 if number is None else number) << trees.LOG_SHIFT | index
            row: Any = connection.execute(
                "SELECT bodies, details FROM thane_entries WHERE id = ?", (key,)
            ).fetchone()
            if row is None:
                raise NotFound(f"the tree of {tenant_id} has no entry {index}")
            connection.execute(
                "UPDATE thane_entries SET bodies = ?, details = ? WHERE id = ?",
                (
                    row[0] if row[0] is None else trees.blanked(row[0], bodies),
                    None if details else row[1],
                    key,
                ),
            )

        await self._writes().exclusively(work)

    def wake(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._wakers.append(callback)

        def end() -> None:
            if callback in self._wakers:
                self._wakers.remove(callback)

        return end


def _groups(
    rows: Sequence[Any], selection: Selection, by: tuple[str, ...], measures: Mapping[str, Measure]
) -> list[dict[str, Any]]:
    """An aggregate's rows as dicts of decoded values."""
    decode = [decoder(selection.schema.by_name[name]) for name in by]
    decode += [measure_decoder(m, selection.schema) for m in measures.values()]
    names = [*by, *measures]
    return [
        {n: v if d is None or v is None else d(v) for n, d, v in zip(names, decode, row, strict=True)}
        for row in rows
    ]
