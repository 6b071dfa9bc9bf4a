"""A whole Thane over files that fail at the n-th write or sync, in every way that `FaultyVFS` knows.

Whatever happens, a caller is told one of Thane's errors or the result; what was answered is
in the store; and once the disk works again, or the folder is opened by another process, all
of it agrees.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.agreement import problems, shown
from tests.crash.processes import BOUND, end_isolation
from tests.store.faulty_vfs import Fault, FaultyVFS
from thane.adapters.disk import DataFolder
from thane.bootstrap.system import System
from thane.interfaces.local import Answer, InProcess
from thane.kernel.errors import ThaneError
from thane.kernel.settings import load
from thane.kernel.settings_schema import Settings

pytestmark = [pytest.mark.crash, pytest.mark.slow]

# What the workload writes and syncs, roughly: faults are spread over so many calls.
WRITES, SYNCS = 500, 5
# How many places each fault is tried at; where, the seed says.
PLACES = {
    Fault.FAIL_WRITE: (6, WRITES),
    Fault.FULL: (4, WRITES),
    Fault.TEAR: (6, WRITES),
    Fault.FAIL_SYNC: (4, SYNCS),
    Fault.DIE_SYNC: (4, SYNCS),
}
_names = itertools.count(1)


def _cases(seed: int) -> list[tuple[Fault, int]]:
    chance = random.Random(seed)
    made = [
        (fault, step * most // count + chance.randrange(1, max(2, most // count)))
        for fault, (count, most) in PLACES.items()
        for step in range(count)
    ]
    return [*made, (Fault.DELAY, 1)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which something has happened, and the isolation program of all these tests."""
    folder = tmp_path_factory.mktemp("vfs")
    yield folder
    end_isolation(folder)


@pytest.fixture(scope="module")
def settings(shared: Path) -> Settings:
    return load(None, {}, {"isolation.socket": str(shared / "isolation.sock")}).settings


@pytest.fixture(scope="module")
def begun(shared: Path, settings: Settings) -> Path:
    async def work() -> None:
        system = System(settings, DataFolder(shared / "begun"), role="server")
        await system.start()
        await _workload(system, [])
        await system.stop()

    asyncio.run(work())
    return shared / "begun"


@pytest.fixture
async def disk() -> AsyncIterator[FaultyVFS]:
    made = FaultyVFS(f"crash-{next(_names)}")
    yield made
    made.unregister()


@pytest.mark.parametrize(("fault", "at"), _cases(7), ids=str)
async def test_a_fault_under_load_is_told_and_leaves_everything_in_agreement(
    fault: Fault, at: int, disk: FaultyVFS, begun: Path, data: Path, settings: Settings
) -> None:
    shutil.copytree(begun, data, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    system = System(settings, DataFolder(data), role="server", vfs=disk.name)
    await system.start()
    lines: list[dict[str, Any]] = []
    disk.arm(fault, at, delay=0.002)
    async with asyncio.timeout(BOUND):
        await _workload(system, lines)
    dead = disk.is_dead
    if dead:
        # As another process finds it: the files as they are now.
        after = data.parent / "after"
        shutil.copytree(data, after, ignore=shutil.ignore_patterns("*.sock", "*.lock", "*-shm"))
    else:
        after = data
    disk.relieve()
    if not dead:
        async with asyncio.timeout(BOUND):
            more: list[dict[str, Any]] = []
            await _workload(system, more)
        assert {line["status"] for line in more} == {201}, "once the disk works, so does everything"
        lines += more
    _is_told(await _failure(system.stop()))
    await _opened_by_another(after, settings)
    found = await asyncio.to_thread(problems, after, lines, kept=False)
    assert not found, shown(found)


@pytest.mark.parametrize("at", [1, 3, 9, 20])
@pytest.mark.parametrize("fault", [Fault.FAIL_WRITE, Fault.FULL, Fault.TEAR, Fault.FAIL_SYNC])
async def test_a_fault_at_the_start_is_told_and_the_next_start_works(
    fault: Fault, at: int, disk: FaultyVFS, data: Path, settings: Settings
) -> None:
    disk.arm(fault, at)
    system = System(settings, DataFolder(data), role="server", vfs=disk.name)
    refused = await _failure(system.start())
    _is_told(refused)
    if refused is None:
        _is_told(await _failure(system.stop()))
    disk.relieve()
    await _opened_by_another(data, settings)
    found = await asyncio.to_thread(problems, data, (), kept=False)
    assert not found, shown(found)


# -- parts ------------------------------------------------------------------------------------------


async def _workload(system: System, lines: list[dict[str, Any]]) -> None:
    """Runs, sandboxes and executions, some at once; what is answered goes to `lines`."""

    async def ask(
        operation: str, path: str, mark: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> Any:
        answer = await _call(system, "POST", path, body, headers)
        lines.append(
            {
                "event": "answered",
                "operation": operation,
                "mark": mark,
                "body": body,
                "status": answer.status,
                "index": answer.headers.get("thane-ledger-index"),
                "answer": answer.body,
            }
        )
        return answer.body if answer.status < 400 else None

    async def piece(n: int) -> None:
        mark = f"piece-{next(_names)}"
        run = await ask("runs.create", "/runs", f"{mark}-run", {"purpose": f"{mark}-run"})
        inside = {} if run is None else {"Thane-Run": run["id"]}
        sandbox = await ask("sandboxes.create", "/sandboxes", mark, {"name": mark}, inside)
        if sandbox is None:
            return
        for k in range(2):
            code = f"print('{mark}-{k}' * 20)"
            path = f"/sandboxes/{sandbox['id']}/executions"
            key = {"Idempotency-Key": f"{mark}-{k}"} if n % 2 else {}
            await ask("sandboxes.execute", path, mark, {"code": code}, {**inside, **key})

    await asyncio.gather(*(piece(n) for n in range(3)))


async def _call(
    system: System, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    answer = await InProcess(system.app).call(method, f"/api/v1{path}", body, headers=headers)
    if answer.status >= 400:
        assert answer.body["code"] != "internal", answer
        assert answer.body["hint"], answer
    return answer


async def _failure(work: Awaitable[None]) -> ThaneError | None:
    """One of Thane's errors, or None; any other is a defect."""
    try:
        await work
    except ThaneError as error:
        return error
    return None


def _is_told(error: ThaneError | None) -> None:
    assert error is None or (error.code != "internal" and error.hint), error


async def _opened_by_another(data: Path, settings: Settings) -> None:
    """A start on files that work: what was left open is ended by it."""
    system = System(settings, DataFolder(data), role="server")
    await system.start()
    again = await _call(system, "POST", "/runs", {"purpose": "after"})
    assert again.status == 201, again
    await system.stop()
