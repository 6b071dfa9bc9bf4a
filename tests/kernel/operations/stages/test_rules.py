"""Rules are judged inside the unit, for reads and changes, and not for Thane itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kernel.operations.house import TENANT, House
from tests.kernel.operations.notes import Nothing
from thane.kernel.errors import Denied
from thane.kernel.records.unit import Unit


class Nay:
    """Denies everything."""

    async def judge(self, unit: Unit, operation: str, request: Any) -> None:
        raise Denied(f"a rule denies {operation} in {unit.context.tenant_id}")


async def test_a_rule_denies_before_anything_is_written(tmp_path: Path) -> None:
    house = await House.build(tmp_path, rules=Nay())
    for name, body in (("notes.create", {"title": "x"}), ("notes.list", None), ("deeds.do", {"what": "dig"})):
        with pytest.raises(Denied, match="a rule denies"):
            await house.ask(name, body)
    assert await house.entries() == []
    assert house.world.acted == []
    assert len(await house.access()) == 3
    await house.pipeline.as_system("notes.ping", TENANT, Nothing())
    await house.close()
