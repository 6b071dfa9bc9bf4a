"""How fast a store with a million executions answers, appends and is verified, in one run.

    just bench-store [--folder FOLDER] [--executions N] [--rounds N] [--without-verify]

Makes the store first if the folder has none (`benchmarks/million.py`). Each request goes through
the whole HTTP application in this process, as the owner, without a socket. Turn by turn, so that
load meets all alike; medians and 95th percentiles in ms beside the goal. It judges nothing: a
machine that others use shows their load too, which the first line tells.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.million import make
from thane.bootstrap.place import data_folder
from thane.bootstrap.system import System
from thane.domains.runs import Run
from thane.interfaces.local import InProcess
from thane.kernel.context import Context
from thane.kernel.records import Entrant, Unit
from thane.kernel.settings import load

GET, LIST, COMPLEX, BATCH, PROOF = 10, 20, 50, 100, 10
APPENDS, APPEND_ROWS, APPEND_GOAL = 20, 1_000, 20_000
Ask = Callable[[], Awaitable[None]]


class Bench:
    """The measurements over one opened system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._host = InProcess(system.app)
        self.found: defaultdict[str, list[float]] = defaultdict(list)
        self.goals: dict[str, float] = {}

    async def run(self, rounds: int) -> None:
        asked = await self._asked()
        for _ in range(rounds):
            for name, (goal, ask) in asked.items():
                started = time.perf_counter()
                await ask()
                self.found[name].append((time.perf_counter() - started) * 1000)
                self.goals[name] = goal

    async def _asked(self) -> dict[str, tuple[float, Ask]]:
        page = await self._get("/executions", limit=200)
        ids = [row["id"] for row in page["items"]]
        one = page["items"][0]
        self._context = await self._owner(one["project_id"])
        size = await self._system.engine.log_size(self._context.tenant_id)
        turn = {"n": 0}

        def pick(of: Any) -> Any:
            turn["n"] += 1
            return of[turn["n"] * 7919 % len(of)]

        def lists(path: str, **query: Any) -> tuple[float, Ask]:
            return LIST, lambda: self._none(path, **query)

        since = (datetime.now(UTC) - timedelta(days=20)).isoformat().replace("+00:00", "Z")
        return {
            "get": (GET, lambda: self._none(f"/executions/{pick(ids)}")),
            "list 30": lists("/executions"),
            "list, status, -created_at": lists("/executions", filter='status = "failed"', sort="-created_at"),
            "list, sandbox, created_at": lists(
                "/executions", filter=f'sandbox_id = "{one["sandbox_id"]}"', sort="created_at"
            ),
            "list, run, -created_at": lists(
                "/executions", filter=f'run_id = "{_run_of(page)}"', sort="-created_at"
            ),
            "list, time and duration": lists(
                "/executions", filter=f'created_at < "{since}" && duration_ms > 100', sort="-started_at"
            ),
            "list, rare, by no index": lists("/executions", filter="duration_ms > 100000000"),
            "list of bills": lists("/billing/events", sort="-timestamp"),
            "list of the audit log": lists("/audit-logs"),
            "audit log, filtered": lists("/audit-logs", filter='status = "failure"'),
            "dashboard": (COMPLEX, lambda: self._none("/dashboard")),
            "sandbox's summary, 31 days": (
                COMPLEX,
                lambda: self._none(f"/sandboxes/{one['sandbox_id']}/resource-summary", hours=744),
            ),
            "months of use": (COMPLEX, lambda: self._none("/usage")),
            "search of code": (COMPLEX, lambda: self._none("/executions", search="pandas invoice")),
            "list with its total": (COMPLEX, lambda: self._none("/executions", total="true")),
            "batch of 100": (BATCH, lambda: self._batch(100)),
            "proof": (PROOF, lambda: self._none(f"/ledger/entries/{pick(range(size))}/proof")),
        }

    async def appends(self) -> tuple[float, float]:
        """Entries a second: as whole units, and the committer alone, given units that are prepared."""
        records, engine = self._system.records, self._system.engine
        whole = committed = 0.0
        for _ in range(APPENDS):
            started = time.perf_counter()
            units = [records.unit(self._context) for _ in range(APPEND_ROWS)]
            sets = [await unit.write_set(self._entrant(unit, None)) for unit in units]
            prepared = time.perf_counter()
            await asyncio.gather(*map(engine.commit, sets))
            committed += time.perf_counter() - prepared
            whole += time.perf_counter() - started
        return APPENDS * APPEND_ROWS / whole, APPENDS * APPEND_ROWS / committed

    async def _batch(self, rows: int) -> None:
        unit_of = self._context

        async def write(unit: Unit) -> None:
            unit.create_many(
                Run(
                    id=unit.new_id(Run),
                    tenant_id=unit_of.tenant_id,
                    project_id=str(unit_of.project_id),
                    user_id=str(unit_of.user_id),
                    purpose="measured",
                    created_at=unit.now,
                    updated_at=unit.now,
                )
                for _ in range(rows)
            )

        await self._system.records.run(unit_of, write, self._entrant)

    def _entrant(self, unit: Unit, value: Any) -> Entrant:
        return Entrant(
            kind="record", operation="bench.write", outcome="done", subject=self._context.principal.subject
        )

    async def _owner(self, project_id: str) -> Context:
        principal = (await self._system.accounts.local_owner()).principal
        return Context(
            tenant_id=principal.tenant_id,
            principal=principal,
            request_id=self._system.ids.new("req"),
            now_us=self._system.clock.now_us(),
            project_id=project_id,
        )

    async def _get(self, path: str, **query: Any) -> Any:
        answer = await self._host.call("GET", f"/api/v1{path}?{urlencode(query)}")
        if answer.status != 200:
            raise RuntimeError(f"{path} {query}: {answer}")
        return answer.body

    async def _none(self, path: str, **query: Any) -> None:
        await self._get(path, **query)


def _run_of(page: Any) -> str:
    return next(str(row["run_id"]) for row in page["items"] if row["run_id"])


async def measure(folder: Path, executions: int, rounds: int) -> None:
    settings = load(None, {}, {}).settings
    place = data_folder(folder, settings)
    if not place.exists:
        await make(folder, executions)
    system = System(settings, place, role="benchmark")
    await system.open()
    try:
        bench = Bench(system)
        await bench.run(rounds)
        print(f"durability {settings.database.durability}; {rounds} rounds; load {os.getloadavg()[0]:.1f}")
        for name, times in bench.found.items():
            times.sort()
            p95 = times[max(0, int(len(times) * 0.95) - 1)]
            shown = f"p50 {statistics.median(times):8.2f}  p95 {p95:8.2f} ms   goal {bench.goals[name]:.0f}"
            print(f"{name:28} {shown}")
        rates = [await bench.appends() for _ in range(3)]
        for name, found in zip(("units", "of it the committer"), zip(*rates, strict=True), strict=True):
            rate = f"{statistics.median(found):,.0f} a second"
            print(f"appends in batches, {name}: {rate}   goal {APPEND_GOAL:,}")
    finally:
        await system.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="with a store, or where to make one; default: temporary")
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--without-verify", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thane-bench-") as temporary:
        folder = chosen.folder or Path(temporary) / "data"
        asyncio.run(measure(folder, chosen.executions, chosen.rounds))
        if not chosen.without_verify:
            print(f"verify, with {len(os.sched_getaffinity(0))} processors:", flush=True)
            command = [sys.executable, "-m", "thane", "verify", "--data", str(folder)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
