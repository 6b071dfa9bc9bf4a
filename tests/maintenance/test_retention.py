"""Rows without history go when they have had their time, and not before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.house import DAY_US, HOUR_US, Home
from thane.bootstrap.values import access_kept_since
from thane.domains.audit import AuditService
from thane.domains.audit import module as audit_module
from thane.domains.sandboxes.entities import Execution, ExecutionChunk, ResourceMetric, Sandbox
from thane.kernel.clock import from_us
from thane.kernel.context import SYSTEM_TENANT
from thane.kernel.jobs import DeadLetter
from thane.kernel.jobs.entities import LetterStatus
from thane.kernel.module import Retention
from thane.kernel.operations.entities import AccessRow, IdempotencyRow
from thane.kernel.records import schema_of
from thane.kernel.records.engine import WriteSet
from thane.kernel.settings_schema import Retention as Settings
from thane.maintenance import retention
from thane.maintenance.retention import RowRetention


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with Home(tmp_path / "data") as home:
        yield home


def rows(home: Home, **settings: Any) -> RowRetention:
    """Retention as the program declares it, with other numbers where a test gives some."""
    return RowRetention([r for m in home.system.modules for r in m.retention], Settings(**settings))


async def test_output_goes_a_day_after_its_execution(home: Home) -> None:
    box = await home.sandbox("a")
    long_over, just_over, running = [await home.execution(box, chunks=3) for _ in range(3)]
    await home.complete(long_over)
    home.clock.pass_(hours=2)
    await home.complete(just_over)
    home.clock.pass_(hours=23)
    assert await rows(home).sweep(home.tools) == {"execution_chunks": 3}
    left = await home.records.across(ExecutionChunk)
    assert {c.execution_id for c in left} == {just_over.id, running.id}
    home.clock.pass_(days=50)
    assert await rows(home).sweep(home.tools) == {"execution_chunks": 3}
    assert {c.execution_id for c in await home.records.across(ExecutionChunk)} == {running.id}
    assert await home.count(Execution) == 3
    await home.verified()


async def test_metrics_are_kept_for_their_days(home: Home) -> None:
    box = await home.sandbox("a")
    run = await home.execution(box, chunks=0)

    def metric(seq: int) -> ResourceMetric:
        return ResourceMetric(
            id=home.system.ids.new("met"),
            tenant_id=home.tenant_id,
            project_id=box.project_id,
            sandbox_id=box.id,
            execution_id=run.id,
            seq=seq,
            timestamp=from_us(home.clock.now_us()),
            cpu_usage=Decimal(1),
            memory_usage=Decimal(1),
            disk_usage=Decimal(1),
        )

    await home.housekeep(metric(0))
    home.clock.pass_(days=2)
    await home.housekeep(metric(1))
    assert await rows(home, metrics_days=2).sweep(home.tools) == {}
    home.clock.pass_(seconds=1)
    assert await rows(home, metrics_days=0).sweep(home.tools) == {}
    assert await rows(home, metrics_days=2).sweep(home.tools) == {"resource_metrics": 1}
    assert [m.seq for m in await home.records.across(ResourceMetric)] == [1]


async def test_many_rows_go_in_short_commits(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    box = await home.sandbox("a")
    for _ in range(3):
        await home.complete(await home.execution(box, chunks=30))
    home.clock.pass_(days=3)
    sizes: list[int] = []
    commit = home.engine.commit

    async def watched(write_set: WriteSet) -> Any:
        sizes.append(len(write_set.changes))
        return await commit(write_set)

    monkeypatch.setattr(home.engine, "commit", watched)
    monkeypatch.setattr(retention, "BATCH", 20)
    assert await rows(home).sweep(home.tools) == {"execution_chunks": 90}
    assert sizes == [20, 20, 20, 20, 10]


async def test_each_tenant_keeps_what_is_its_own(home: Home) -> None:
    """One sweep over all tenants, and each row is deleted in the unit of its own."""
    old = from_us(home.clock.now_us())
    for tenant_id in (home.tenant_id, SYSTEM_TENANT):

        async def write(unit: Any, tenant_id: str = tenant_id) -> None:
            unit.create(idempotency(home, tenant_id, home.clock.now_us() + HOUR_US))

        await home.tools.housekeep(tenant_id, write)
    assert old == from_us(home.clock.now_us())
    home.clock.pass_(hours=2)
    assert await rows(home).sweep(home.tools) == {"idempotency": 2}
    assert await home.records.across(IdempotencyRow) == []


def idempotency(home: Home, tenant_id: str, expires_us: int) -> IdempotencyRow:
    return IdempotencyRow(
        id=home.system.ids.new("idm"),
        tenant_id=tenant_id,
        principal_id="key_1",
        operation="tests.change",
        digest=b"",
        entry_index=None,
        intent_index=None,
        resource=None,
        expires_us=expires_us,
    )


async def test_a_used_key_is_forgotten_when_it_has_expired(tmp_path: Path) -> None:
    async with Home(tmp_path / "data", retention__idempotency_hours=2) as home:
        first = await home.api("POST", "/sandboxes", {"name": "a"}, idempotency_key="k")
        home.clock.pass_(hours=1)
        again = await home.api("POST", "/sandboxes", {"name": "a"}, idempotency_key="k")
        assert again.headers["idempotency-replayed"] == "true"
        assert again.body["id"] == first.body["id"]
        assert await rows(home).sweep(home.tools) == {}
        home.clock.pass_(hours=1, seconds=1)
        assert await rows(home).sweep(home.tools) == {"idempotency": 1}


async def test_a_row_that_was_renewed_meanwhile_stays(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key may be claimed anew between the look and the deletion."""
    row = idempotency(home, home.tenant_id, home.clock.now_us() + 1)
    await home.housekeep(row)
    home.clock.pass_(hours=1)
    housekeep = home.tools.housekeep

    async def late(tenant_id: str, handler: Any) -> Any:
        async def renew(unit: Any) -> None:
            found = await unit.get(IdempotencyRow, row.id)
            await unit.update(found, expires_us=home.clock.now_us() + DAY_US)

        await housekeep(tenant_id, renew)
        return await housekeep(tenant_id, handler)

    monkeypatch.setattr(home.tools, "housekeep", late)
    assert await rows(home).sweep(home.tools) == {}
    assert await home.count(IdempotencyRow) == 1


async def test_letters_that_wait_for_a_person_stay(home: Home) -> None:
    def letter(consumer: str, index: int, status: LetterStatus) -> DeadLetter:
        return DeadLetter(
            id=home.system.ids.new("ded"),
            tenant_id=home.tenant_id,
            consumer=consumer,
            entry_index=index,
            error="it failed",
            next_try=from_us(home.clock.now_us()),
            status=status,
        )

    await home.housekeep(
        letter("schedule/x", 1, LetterStatus.SKIPPED),
        letter("schedule/x", 2, LetterStatus.DEAD),
        letter("audit_logs", 3, LetterStatus.SKIPPED),
    )
    home.clock.pass_(days=400)
    assert await rows(home).sweep(home.tools) == {"dead_letters": 1}
    assert {d.entry_index for d in await home.records.across(DeadLetter)} == {2, 3}


async def test_access_rows_go_only_once_their_digest_stands(home: Home) -> None:
    settings = home.settings
    audit = AuditService(
        home.records, home.system.signer, kept_since_us=access_kept_since(settings, home.clock)
    )
    module = audit_module.module(audit)
    sweep = RowRetention(module.retention, settings.retention).sweep
    await home.api("GET", "/sandboxes")
    home.system.pipeline.access.flush()
    await home.sandbox("so that the rows are written")
    assert await home.count(AccessRow) == 1
    home.clock.pass_(days=91)
    assert await sweep(home.tools) == {}, "no digest was made of it"
    await audit.seal_access(home.tools)
    await home.api("GET", "/sandboxes")
    home.system.pipeline.access.flush()
    await home.sandbox("these, too")
    await home.verified(*module.counters)
    assert await sweep(home.tools) == {"access_rows": 1}
    assert await home.count(AccessRow) == 1
    await home.verified(*module.counters)


async def test_a_missing_access_row_is_still_noticed(home: Home) -> None:
    """What retention took is excused by its age alone: a younger digest must find all its rows."""
    audit = AuditService(
        home.records, home.system.signer, kept_since_us=access_kept_since(home.settings, home.clock)
    )
    await audit.seal_access(
        home.tools
    )  # a tenant's first digest reaches back for ever, and is not held against rows
    home.clock.pass_(hours=1)
    await home.api("GET", "/sandboxes")
    home.system.pipeline.access.flush()
    await home.sandbox("so that the row is written")
    home.clock.pass_(days=89)
    await audit.seal_access(home.tools)
    rule = Retention(schema=schema_of(AccessRow), field="created_at", setting="access_days")
    assert await RowRetention([rule], Settings(access_days=1)).sweep(home.tools) == {"access_rows": 1}
    with pytest.raises(AssertionError, match="of the 1 access rows"):
        await home.verified(*audit_module.module(audit).counters)


def test_rows_with_history_are_never_declared() -> None:
    with pytest.raises(TypeError, match="sandboxes keeps history"):
        RowRetention([Retention(schema=schema_of(Sandbox), field="created_at")], Settings())
    for setting in ("nothing_days", "idempotency_hours"):
        rule = Retention(schema=schema_of(ExecutionChunk), field="created_at", setting=setting)
        with pytest.raises(TypeError, match=f"retention.{setting} is no setting in days"):
            RowRetention([rule], Settings())
