"""A slot that was taken for an execution which then never began is given back.

`prepare` takes it before its unit is committed; the unit may lose a race, or the disk refuse
it. A slot that was lost with it would be lost until the next start, and with the last one
every execution would wait for ever.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash.processes import BOUND, Processes
from thane.adapters.disk import DataFolder
from thane.bootstrap.system import System
from thane.interfaces.local import Answer, InProcess
from thane.kernel.settings import load

pytestmark = pytest.mark.crash


async def test_executions_that_race_for_a_new_sandbox_lose_no_slot(data: Path, processes: Processes) -> None:
    processes.owns(data)
    system = System(load(None, {}, {"isolation.slots": 1}).settings, DataFolder(data), role="server")
    await system.start()
    api = InProcess(system.app)

    async def execute(sandbox: str, n: int) -> Answer:
        return await api.call("POST", f"/api/v1/sandboxes/{sandbox}/executions", {"code": f"print({n})"})

    try:
        for _ in range(3):
            made = await api.call("POST", "/api/v1/sandboxes", {})
            # All of them find it `created` and want to start it; all but one prepare again.
            async with asyncio.timeout(BOUND):
                answers = await asyncio.gather(*(execute(made.body["id"], n) for n in range(4)))
            assert [a.body["output"]["stdout"] for a in answers] == [f"{n}\n" for n in range(4)]
    finally:
        await system.stop()
