"""Makes a store with very many executions, to measure over; `thane verify` finds it sound.

    uv run --no-sync python -m benchmarks.million FOLDER [--executions N] [--seed N]

A new folder is made the usual way, with sandboxes and runs through the API. Then each execution is
written as `sandboxes.execute` leaves it: an intent's entry and an outcome's, the execution in two
versions, its bill, which counts into its month, a sample of use, its row in the audit log. Leaves,
heads, digests and seals are real and made with the kernel's functions; only the way there is not:
through the units it would take an hour, so rows go straight into the tables, whose indexes are
made at the end. The executions are spread evenly over DAYS days that end now.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import timedelta
from pathlib import Path

from benchmarks.loader import Ground, Loader, SetClock, without_indexes
from thane.adapters.sqlite.connection import connect
from thane.bootstrap.place import data_folder
from thane.bootstrap.system import System
from thane.domains.audit.jobs import AUDIT_LOGS
from thane.domains.projects import Project
from thane.interfaces.local import InProcess
from thane.kernel.context import Context
from thane.kernel.jobs import JobCursor, Tools
from thane.kernel.jobs.cursors import Deliverer, cursor_id
from thane.kernel.records import Unit
from thane.kernel.settings import load

DAYS = 60
SANDBOXES = 200
RUNS = 50


async def make(folder: Path, executions: int, seed: int = 1) -> None:
    """Make the store; the folder must not hold one yet."""
    settings = load(None, {}, {}).settings
    end = time.time_ns() // 1000
    clock = SetClock(end - timedelta(days=DAYS) // timedelta(microseconds=1))
    step_us = (end - clock.us) // max(1, executions)
    place = data_folder(folder, settings)
    if place.exists:
        raise FileExistsError(f"{folder} holds a store already")
    system = System(settings, place, role="benchmark", clock=clock)
    await system.open()
    try:
        ground = await _ground(system)
    finally:
        await system.stop()
    connection = connect(place.store)
    try:
        # Rows come in the order of their references, and are checked by `thane verify` anyway.
        connection.execute("PRAGMA foreign_keys = OFF")
        with without_indexes(connection):
            Loader(connection, ground, clock, seed).load(executions, step_us)
    finally:
        connection.close()
    await _signed(System(settings, place, role="benchmark", clock=SetClock(end)), ground)


async def _ground(system: System) -> Ground:
    """Sandboxes and runs of the local owner, made through the API."""
    principal = (await system.accounts.local_owner()).principal
    assert principal.user_id is not None
    tenant_id, now = principal.tenant_id, system.clock.now_us()
    context = Context(tenant_id=tenant_id, principal=principal, request_id=system.ids.new("req"), now_us=now)
    (project,) = await system.records.unit(context).list(Project)
    ring, host = system.records.preparer.ring, InProcess(system.app)
    made: dict[str, list[str]] = {"sandboxes": [], "runs": []}
    for number in range(SANDBOXES):
        answer = await host.call("POST", "/api/v1/sandboxes", {"name": f"sandbox-{number}"})
        made["sandboxes"].append(answer.body["id"])
    for number in range(RUNS):
        answer = await host.call("POST", "/api/v1/runs", {"purpose": f"run {number}"})
        made["runs"].append(answer.body["id"])
    await Deliverer(AUDIT_LOGS, system.feed, _tools(system)).catch_up()
    keys = await ring.of(principal.user_id), await ring.of(tenant_id)
    return Ground(context, project.id, principal.user_id, made["sandboxes"], made["runs"], *keys)


async def _signed(system: System, ground: Ground) -> None:
    """Let the audit's projection know how far its table reaches, and sign."""
    tenant_id = ground.context.tenant_id
    await system.open()
    try:
        size = await system.engine.log_size(tenant_id)

        async def move(unit: Unit) -> None:
            await unit.update(
                await unit.get(JobCursor, cursor_id(AUDIT_LOGS.consumer, tenant_id)), position=size
            )

        await _tools(system).housekeep(tenant_id, move)
        await system.signer.sign_now()
    finally:
        await system.stop()


def _tools(system: System) -> Tools:
    return Tools(system.records, system.clock, system.ids, system.pipeline.as_system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    asyncio.run(make(chosen.folder, chosen.executions, chosen.seed))


if __name__ == "__main__":
    main()
