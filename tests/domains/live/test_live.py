"""Watching a whole system from inside its process: the retention horizon, and the callers of the CLI."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from thane.adapters.disk import DataFolder
from thane.bootstrap.system import System
from thane.domains.system import ApplyRetention
from thane.interfaces.local import InProcess
from thane.kernel.clock import from_us
from thane.kernel.live.events import place_in_ledger
from thane.kernel.records import schema_of
from thane.kernel.settings import load

WATCH = "/api/v1/watch"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    made = System(load(None, {}).settings, DataFolder(tmp_path / "data"), role="test")
    await made.start()
    yield made
    await made.stop()


async def test_a_position_before_the_horizon_is_gone(system: System) -> None:
    caller = InProcess(system.app)
    for n in range(4):
        await caller.call("POST", "/api/v1/sandboxes", {"name": f"s{n}"})
    tenant_id = (await system.accounts.local_owner()).principal.tenant_id
    moved = ApplyRetention(horizon=3, made_before=from_us(system.clock.now_us()))
    await system.pipeline.as_system("retention.apply", tenant_id, moved)
    for after in ("-1", "0", "1", "1.0", "2.0"):
        answer = await caller.call("GET", f"{WATCH}?entity=sandboxes&after={after}")
        assert (answer.status, answer.body["code"]) == (410, "history_expired"), after
        assert answer.body["horizon"] == 3
        assert "anew" in answer.body["hint"]
        if after == "0":
            by_header = await caller.call(
                "GET", f"{WATCH}?entity=sandboxes", headers={"Last-Event-ID": after}
            )
            assert by_header.status == 410
    told: list[str] = []
    watching = asyncio.create_task(
        caller.call(
            "GET",
            f"{WATCH}?entity=sandboxes&after=2&fields=name",
            on_event=lambda name, data: told.append(data.get("record", {}).get("name", name)),
        )
    )
    async with asyncio.timeout(20):
        while "s3" not in told:
            await asyncio.sleep(0)
    assert told[0] == "ready"
    system.app.end_streams()
    ended = await watching
    assert (ended.status, ended.body["reason"]) == (200, "stopping")


async def test_the_owner_watches_an_execution_through_the_folders_socket(system: System) -> None:
    caller = InProcess(system.app)
    made = await caller.call("POST", "/api/v1/sandboxes", {"name": "mine"})
    path = f"/api/v1/sandboxes/{made.body['id']}/executions"
    done = await caller.call("POST", path, {"code": "print('seen')"})
    told: list[tuple[str, Any]] = []
    ended = await caller.call(
        "GET",
        f"{WATCH}?entity=execution_chunks&parent={done.body['id']}&fields=data",
        on_event=lambda name, data: told.append((name, data)),
    )
    assert ended.body["reason"] == "settled"
    assert [name for name, _ in told] == ["ready", *["create"] * (len(told) - 1)]
    assert b"".join(b64decode(data["record"]["data"]) for _, data in told[1:]) == b"seen\n"


async def test_what_can_be_listed_and_has_history_or_a_parent_can_be_watched(system: System) -> None:
    known = [bound.entity for bound in system.operations if bound.declaration.lists]
    for cls in known:
        schema = schema_of(cls)
        if schema.history or schema.stream is not None:
            found = system.live.find(schema.table)
            assert found.schema is schema
            assert found.visible
            assert (found.streamed is not None) is (schema.stream is not None)
    assert system.live.find("api_keys").needs == "api_keys.list"
    assert place_in_ledger("3").position == 4
