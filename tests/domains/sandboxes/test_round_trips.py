"""Dashboard and summary ask the store once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from thane.adapters.disk import DataFolder
from thane.bootstrap.system import System
from thane.interfaces.local import InProcess
from thane.kernel.operations.call import Call
from thane.kernel.settings import load

pytestmark = pytest.mark.anyio
READS = ("fetch", "fetch_blind", "select", "count", "aggregate", "ask", "search", "traverse")


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    made = System(load(None, {}).settings, DataFolder(tmp_path / "data"), role="test")
    await made.open()  # no jobs, which would read too
    yield made
    await made.stop()


async def test_each_is_one_round_trip(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await InProcess(system.app).call("POST", "/api/v1/sandboxes", {"name": "one"})
    owner = await system.accounts.local_owner()
    path = {"sandbox_id": made.body["id"]}
    asked: list[str] = []

    def counting(name: str) -> Any:
        read = getattr(system.engine, name)

        def called(*args: Any, **more: Any) -> Any:
            asked.append(name)
            return read(*args, **more)

        return called

    async def reads(operation: str, path: dict[str, str]) -> list[str]:
        """What an operation reads, once it is known who asks."""
        bound = system.operations.get(operation)
        call = Call(operation=bound, request_id=system.ids.new("req"), identified=owner, path=path)
        asked.clear()
        assert (await system.pipeline.call(call)).status == 200
        return list(asked)

    for name in READS:
        monkeypatch.setattr(system.engine, name, counting(name))
    assert await reads("sandboxes.dashboard", {}) == ["ask"]
    assert await reads("sandboxes.resource_summary", path) == ["ask"]
    assert await reads("sandboxes.get", path) == ["fetch"], "the counting sees other reads"
