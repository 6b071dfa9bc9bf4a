"""What SQLite's errors become."""

from __future__ import annotations

from pathlib import Path

import pytest

from thane.adapters.sqlite.connection import make_private
from thane.adapters.sqlite.reader import Reader
from thane.kernel.errors import QueryFailed

pytestmark = pytest.mark.anyio


async def test_a_statement_that_sqlite_refuses_is_a_failed_query(tmp_path: Path) -> None:
    make_private(tmp_path / "store.db")
    reader = Reader(tmp_path / "store.db", None)
    try:
        with pytest.raises(QueryFailed, match="no such table"):
            await reader.rows("SELECT 1 FROM absent", (), "absent", "get")
    finally:
        reader.close()
