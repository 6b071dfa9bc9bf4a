"""The first lines of the SDK, exactly as they are promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.program import Served

LINES = """
with Thane(url, key) as thane: sbx = thane.sandboxes.create(); out = sbx.run_code("print(1)")
"""


def test_the_promised_lines_run_as_they_are_written(tmp_path: Path) -> None:
    from thane.client import Thane

    server = Served(tmp_path / "data")
    try:
        names: dict[str, Any] = {"Thane": Thane, "url": server.url, "key": server.key}
        exec(LINES, names)
        assert (names["out"].stdout, names["out"].ok) == ("1\n", True)
        assert names["out"].ledger.index > names["out"].ledger.intent_index
    finally:
        assert server.stop() == 0
