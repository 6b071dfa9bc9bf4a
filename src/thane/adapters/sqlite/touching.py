"""What a person with access to the store's file can do to it by hand, done to a copy of it.

`thane demo` shows with it that `thane verify` sees that. The owner's store is only read, by
SQLite's own online backup, so the copy is whole also while the owner writes.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from thane.adapters.sqlite.connection import commit_failed, opening_failed
from thane.adapters.sqlite.trees import LOG_SHIFT, log_number
from thane.kernel.errors import NotFound
from thane.kernel.ledger.tree import leaf_hash


def copy_store(source: Path, target: Path) -> None:
    """Copy a store as it is at this moment. DatabaseError if it cannot be read or the disk takes no copy."""
    try:
        there = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        raise opening_failed(source, error) from error
    try:
        with closing(apsw.Connection(str(target))) as made, made.backup("main", there, "main") as backup:
            backup.step()
    except apsw.Error as error:
        raise commit_failed(error) from error
    finally:
        there.close()


def touch_row(store: Path, table: str, id: str, column: str, value: str) -> str:
    """Change one column of a row; the statement, as a person would write it. NotFound if nothing changed."""
    statement = f'UPDATE "{table}" SET "{column}" = ? WHERE "id" = ?'
    _change(store, statement, (value, id))
    return f"UPDATE {table} SET {column} = '{value}' WHERE id = '{id}'"


def touch_leaf(store: Path, tenant_id: str, index: int, old: str, new: str) -> str:
    """Write something else into an entry's leaf; the statement. NotFound if nothing changed."""
    id = _entry_id(store, tenant_id, index)
    statement = "UPDATE thane_entries SET leaf = replace(leaf, ?, ?) WHERE id = ? AND instr(leaf, ?) > 0"
    _change(store, statement, (old, new, id, old))
    return f"UPDATE thane_entries SET leaf = replace(leaf, '{old}', '{new}') WHERE id = {id}"


def touch_hash(store: Path, tenant_id: str, index: int) -> str:
    """Make the hash beside a leaf anew; the statement. NotFound if there is no such entry."""
    id = _entry_id(store, tenant_id, index)
    with closing(apsw.Connection(str(store))) as connection:
        leaf = connection.execute("SELECT leaf FROM thane_entries WHERE id = ?", (id,)).get
    if not isinstance(leaf, str):
        raise NotFound(f"the store has no entry {index} of {tenant_id}")
    _change(store, "UPDATE thane_entries SET hash = ? WHERE id = ?", (leaf_hash(leaf.encode()), id))
    return f"UPDATE thane_entries SET hash = sha256(x'00' || leaf) WHERE id = {id}"


def _entry_id(store: Path, tenant_id: str, index: int) -> int:
    with closing(apsw.Connection(str(store))) as connection:
        number = log_number(connection, tenant_id)
    if number is None:
        raise NotFound(f"the store has no log of {tenant_id}")
    return number << LOG_SHIFT | index


def _change(store: Path, statement: str, values: tuple[Any, ...]) -> None:
    try:
        with closing(apsw.Connection(str(store))) as connection:
            connection.execute(statement, values)
            changed = connection.changes()
    except apsw.Error as error:
        raise commit_failed(error) from error
    if changed != 1:
        raise NotFound(f"nothing in {store} is as it was expected, so nothing was touched")
