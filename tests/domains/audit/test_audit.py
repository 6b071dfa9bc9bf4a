"""The audit log over ledger and access rows, the ledger's operations, and the minute's digest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.kernel.jobs.world import FakeClock, World, world
from thane.domains.audit import AuditLog, AuditService, AuditStatus, jobs, operations
from thane.domains.audit.module import module
from thane.domains.audit.service import SEAL
from thane.kernel.clock import from_us, to_us
from thane.kernel.context import Principal, PrincipalKind
from thane.kernel.errors import Invalid, NotFound
from thane.kernel.jobs import JobRunner
from thane.kernel.ledger.leaf import Kind
from thane.kernel.operations.call import Call
from thane.kernel.operations.entities import ENTITIES as OPERATION_ENTITIES
from thane.kernel.operations.entities import AccessRow
from thane.kernel.operations.listing import ListRequest
from thane.kernel.operations.pipeline import Pipeline, Ports
from thane.kernel.operations.registry import Operations
from thane.kernel.paging import Page
from thane.kernel.ports.identity import Identified
from thane.kernel.records import Unit
from thane.maintenance.verify import verify
from thane_verify.notes import PublicKey
from thane_verify.tlogproof import check

START = to_us(datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC))


class Audited:
    """A world with the audit on it."""

    def __init__(self, w: World, clock: FakeClock) -> None:
        self.w = w
        self.clock = clock
        self.audit = AuditService(w.records, w.signer)
        self.runner = JobRunner(w.tools, w.feed, w.leases, projections=(jobs.AUDIT_LOGS,))
        self.tenant_id = ""

    async def access(
        self, operation: str, *, status: int = 200, kind: str = "user", **values: Any
    ) -> AccessRow:
        """A read or a refusal, as the pipeline writes it."""
        row = AccessRow(
            id=self.w.ids.new("acc"),
            tenant_id=self.tenant_id,
            principal_id="usr_1",
            principal_kind=kind,
            user_id="usr_1",
            operation=operation,
            resource_type=operation.partition(".")[0],
            resource_id=values.get("resource_id"),
            status=status,
            code="denied" if status >= 400 else None,
            ip_address="192.0.2.7",
            user_agent="curl",
            request_id=values.get("request_id", "req_1"),
            run_id=None,
            created_at=from_us(self.clock.now_us()),
        )

        async def write(unit: Unit) -> None:
            unit.create(row)

        await self.w.tools.housekeep(self.tenant_id, write)
        return row

    async def logs(self, **request: Any) -> Page[AuditLog]:
        await self.runner.catch_up()

        async def read(unit: Unit) -> Page[AuditLog]:
            return await self.audit.list_logs(unit, ListRequest(**request))

        return await self.w.records.read(self.w.context(self.tenant_id), read)

    async def actions(self, **request: Any) -> list[str]:
        return [f"{row.resource_type}.{row.action}" for row in (await self.logs(**request)).items]


@asynccontextmanager
async def audited(path: Path) -> AsyncIterator[Audited]:
    clock = FakeClock(START)
    async with world(path, AuditLog, *OPERATION_ENTITIES, clock=clock) as w:
        made = Audited(w, clock)
        made.tenant_id = await w.tenant()
        yield made


async def mixed(a: Audited) -> None:
    """Changes and reads, one a second, some at the same moment."""
    for n in range(6):
        a.clock.move(1)
        await a.w.note(a.tenant_id, f"n{n}")
        await a.access("notes.list")
        if n % 2:
            a.clock.move(1)
            await a.access("notes.delete", status=403, resource_id=f"not_{n}")


# -- the list ------------------------------------------------------------------------------------


async def test_changes_and_reads_are_one_list_newest_first(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        await mixed(a)
        page = await a.logs(limit=500, total=True)
        assert len(page.items) == page.total == 1 + 6 + 6 + 3
        assert page.next_cursor is None
        places = [(row.created_at, row.id) for row in page.items]
        assert places == sorted(places, reverse=True)
        assert (page.items[-1].resource_type, page.items[-1].action) == ("tenants", "create")
        oldest = await a.logs(limit=500, sort="created_at")
        assert [row.id for row in oldest.items] == [row.id for row in reversed(page.items)]


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("sort", ["", "created_at"])
async def test_pages_join_without_a_gap_or_a_repetition(tmp_path: Path, limit: int, sort: str) -> None:
    async with audited(tmp_path) as a:
        await mixed(a)
        whole = [row.id for row in (await a.logs(limit=500, sort=sort)).items]
        seen: list[str] = []
        cursor = None
        while True:
            page = await a.logs(limit=limit, sort=sort, cursor=cursor)
            seen += [row.id for row in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == whole


@pytest.mark.parametrize(
    ("filter", "count"),
    [
        ('status = "failure"', 3),
        ('status = "success"', 13),
        ('action = "delete"', 3),
        ('action = "list"', 6),
        ('action = "create" && resource_type = "notes"', 6),
        ('resource_id = "not_3"', 1),
        ('error_message = "denied"', 3),
        ('actor = "usr_1"', 9),
        ('user_id = "usr_1" && status = "failure"', 3),
        ('action = "list" || status = "failure"', 9),
        ('action != "list"', 10),
        ("entry_index >= 2", 5),
        ("entry_index = null", 9),
        ('created_at < "2026-03-01T12:00:33Z"', 5),
    ],
)
async def test_a_filter_speaks_of_both_alike(tmp_path: Path, filter: str, count: int) -> None:
    async with audited(tmp_path) as a:
        await mixed(a)
        page = await a.logs(filter=filter, limit=500, total=True)
        assert (len(page.items), page.total) == (count, count)


async def test_details_address_and_agent_are_unsealed_when_asked_for_and_never_stored(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        principal = Principal(
            kind=PrincipalKind.AGENT,
            id="agt_1",
            tenant_id=a.tenant_id,
            user_id="usr_9",
            role="member",
            actor_chain=("usr_9", "agt_1"),
        )
        context = msgspec.structs.replace(
            a.w.context(a.tenant_id), principal=principal, run_id="run_1", project_id="prj_1"
        )

        async def nothing(unit: Unit) -> None:
            return

        details = b'{"args":{"title":"Milk"},"result":{"id":"not_1"},"ip":"192.0.2.1","user_agent":"cli/1"}'
        await a.w.act(a.tenant_id, "notes.archive", nothing, details=details, context=context)
        (row, _) = (await a.logs()).items
        assert row.details == {"args": {"title": "Milk"}, "result": {"id": "not_1"}}
        assert (row.ip_address, row.user_agent) == ("192.0.2.1", "cli/1")
        assert (row.user_id, row.actor, row.run_id, row.project_id) == ("usr_9", "agt_1", "run_1", "prj_1")
        (stored,) = [r for r in await a.w.rows(AuditLog, a.tenant_id) if r.action == "archive"]
        assert (stored.ip_address, stored.user_agent, stored.details) == (None, None, None)
        await a.w.engine.blank(a.tenant_id, 1, [], True)
        (row, _) = (await a.logs()).items
        assert (row.ip_address, row.details, row.action) == (None, None, "archive")


async def test_an_effect_is_one_row_and_its_outcome_says_how_it_went(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:

        async def nothing(unit: Unit) -> None:
            return

        for outcome in ("completed", "timeout"):
            await a.w.act(a.tenant_id, "sandboxes.execute", nothing, kind=Kind.INTENT, outcome=None)
            await a.w.act(a.tenant_id, "sandboxes.execute", nothing, kind=Kind.OUTCOME, outcome=outcome)
        rows = (await a.logs(filter='resource_type = "sandboxes"')).items
        assert [(r.status, r.error_message, r.entry_index) for r in rows] == [
            (AuditStatus.FAILURE, "timeout", 4),
            (AuditStatus.SUCCESS, None, 2),
        ]


@pytest.mark.parametrize("name", ["ip_address", "user_agent"])
async def test_what_is_sealed_cannot_be_searched(tmp_path: Path, name: str) -> None:
    async with audited(tmp_path) as a:
        with pytest.raises(Invalid, match="sealed") as caught:
            await a.logs(filter=f'status = "success" && (action = "a" || {name} != "x")')
        assert caught.value.faults[0].pointer == "/filter"


async def test_another_sort_is_refused(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        with pytest.raises(Invalid, match="sorted by time"):
            await a.logs(sort="action")


async def test_a_rebuild_gives_the_same_audit_log(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        await mixed(a)
        before = (await a.logs(limit=500)).items
        await a.runner.rebuild("audit_logs", a.tenant_id)
        assert (await a.logs(limit=500)).items == before


# -- operations, through the pipeline ------------------------------------------------------------


class Nobody:
    async def identify(self, bearer: str) -> Identified:
        raise NotImplementedError

    async def local_owner(self) -> Identified:
        raise NotImplementedError


async def test_every_operation_answers_its_own_example_through_the_pipeline(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        await mixed(a)
        bound = Operations()
        made = module(a.audit)
        made.bind(bound)
        bound.check()
        spool = tmp_path / "spool"
        spool.mkdir()
        ports = Ports(identity=Nobody())
        pipeline = Pipeline(
            a.w.records, bound, ports, clock=a.clock, ids=a.w.ids, spool=spool, server_id="srv_1"
        )
        owner = Principal(
            kind=PrincipalKind.USER,
            id="usr_1",
            tenant_id=a.tenant_id,
            user_id="usr_1",
            role="owner",
            permissions=frozenset({"*"}),
        )
        answers: dict[str, Any] = {}
        for operation in bound:
            assert operation.declaration.example is not None
            values = {k: str(v) for k, v in operation.declaration.example.request.items()}
            call = Call(
                operation=operation,
                request_id=a.w.ids.new("req"),
                path={n: values.pop(n) for n in operation.path_params},
                query=list(values.items()),
                identified=Identified(principal=owner),
            )
            answers[operation.name] = json.loads((await pipeline.call(call)).body)
        await pipeline.close()
        assert len(answers) == len(operations.ALL) == 5
        assert answers["ledger.get_entry"]["leaf"]["operation"] == "tenants.create"
        assert answers["ledger.get_entry"]["details"] == {"args": {}}
        assert answers["ledger.list_entries"]["next_start"] == 7
        key = PublicKey.parse(answers["ledger.checkpoint"]["vkey"])
        assert check(answers["ledger.prove"]["proof"].encode(), [key]).proven
        assert answers["ledger.checkpoint"]["size"] == 7


async def test_entries_are_listed_from_the_newest_or_from_an_index(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        await a.w.notes(a.tenant_id, 5)
        context = a.w.context(a.tenant_id)
        assert [e.index for e in await a.audit.list_entries(context, None, 2)] == [4, 5]
        assert [e.index for e in await a.audit.list_entries(context, 1, 3)] == [1, 2, 3]
        assert await a.audit.list_entries(context, 6, 3) == ()
        with pytest.raises(NotFound, match="the log has 6"):
            await a.audit.get_entry(context, 6)


async def test_a_foreign_tenants_entries_are_not_there(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        await a.w.notes(a.tenant_id, 5)
        other = a.w.context(await a.w.tenant())
        with pytest.raises(NotFound, match="the log has 1"):
            await a.audit.get_entry(other, 3)
        with pytest.raises(NotFound, match="the log has 1"):
            await a.audit.prove(other, 3)


async def test_nothing_is_signed_yet_says_so(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        with pytest.raises(NotFound, match="nothing is signed"):
            await a.audit.checkpoint(a.w.context("tnt_unknown"))


# -- the minute's digest -------------------------------------------------------------------------


async def seals(a: Audited) -> list[int]:
    rows = await a.w.engine.entries(a.tenant_id, 0, 1000)
    return [row.index for row in rows if json.loads(row.leaf)["operation"] == SEAL]


async def test_the_access_rows_of_a_minute_are_sealed_once_it_is_over(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        for _ in range(5):
            await a.access("notes.list")
        assert await a.audit.seal_access(a.w.tools) == 0
        a.clock.move(60)
        assert await a.audit.seal_access(a.w.tools) == 1
        assert await a.audit.seal_access(a.w.tools) == 0
        (index,) = await seals(a)
        view = await a.audit.get_entry(a.w.context(a.tenant_id), index)
        assert json.loads(bytes(view.leaf))["kind"] == "access"
        assert view.details is not None
        said = view.details["result"]
        assert said["count"] == 5
        assert from_us(said["from"]) == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        assert from_us(said["to"]) == datetime(2026, 3, 1, 12, 1, tzinfo=UTC)


async def test_a_minute_with_rows_of_system_only_has_no_entry(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        await a.access("notes.list", kind="system")
        a.clock.move(120)
        assert await a.audit.seal_access(a.w.tools) == 0
        await a.access("notes.list")
        a.clock.move(120)
        assert await a.audit.seal_access(a.w.tools) == 1
        view = await a.audit.get_entry(a.w.context(a.tenant_id), (await seals(a))[0])
        assert view.details is not None
        assert from_us(view.details["result"]["from"]) == datetime(2026, 3, 1, 12, 2, tzinfo=UTC)


async def test_verify_holds_the_access_rows_against_their_digest(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        row = await a.access("notes.list")
        await a.access("notes.get")
        a.clock.move(120)
        await a.audit.seal_access(a.w.tools)
        hooks = jobs.checks(a.audit)
        assert (await verify(a.w.records, None, hooks)).ok

        async def blank(unit: Unit) -> None:
            stored = await unit.get(AccessRow, row.id)
            await unit.update(stored, ip_address=None, user_agent=None)

        await a.w.tools.housekeep(a.tenant_id, blank)
        assert (await verify(a.w.records, None, hooks)).ok, "an erasure may blank what is personal"

        async def forge(unit: Unit) -> None:
            await unit.update(await unit.get(AccessRow, row.id), status=404)

        await a.w.tools.housekeep(a.tenant_id, forge)
        (problem,) = (await verify(a.w.records, None, hooks)).problems
        assert (problem.kind, problem.index) == ("access", (await seals(a))[0])
        assert "of the 2 access rows" in problem.message

        async def drop(unit: Unit) -> None:
            await unit.delete(await unit.get(AccessRow, row.id))

        await a.w.tools.housekeep(a.tenant_id, drop)
        (problem,) = (await verify(a.w.records, None, hooks)).problems
        assert "1 are there" in problem.message
        later = AuditService(a.w.records, a.w.signer, kept_since_us=lambda: START + 1)
        assert (await verify(a.w.records, None, jobs.checks(later))).ok
        await a.w.engine.blank(a.tenant_id, problem.index or 0, [], True)
        assert (await verify(a.w.records, None, hooks)).ok


async def test_two_processes_seal_a_minute_once(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        await a.access("notes.list")
        a.clock.move(120)
        made = await asyncio.gather(*(a.audit.seal_access(a.w.tools) for _ in range(5)))
        assert sum(made) == 1
        assert len(await seals(a)) == 1


async def test_the_module_declares_what_it_does(tmp_path: Path) -> None:
    async with audited(tmp_path) as a:
        made = module(a.audit)
        assert made.projections == (jobs.AUDIT_LOGS,)
        (periodic,) = made.periodic
        await a.access("notes.list")
        a.clock.move(120)
        await periodic.run(a.w.tools)
        assert len(await seals(a)) == 1
