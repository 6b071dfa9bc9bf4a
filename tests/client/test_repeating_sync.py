"""The tests of `test_repeating.py` on the synchronous client: the same text, translated."""

from __future__ import annotations

from pathlib import Path

from tools.sdk.twin import twin

_SOURCE = Path(__file__).with_name("test_repeating.py")
exec(compile(twin(_SOURCE.read_text(encoding="utf-8")), str(_SOURCE), "exec"), globals())
