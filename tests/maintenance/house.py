"""A whole Thane over a folder, with a clock that is set by hand and no jobs that run by themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from thane.bootstrap.place import data_folder
from thane.bootstrap.schemas import CHECKS
from thane.bootstrap.system import System
from thane.domains.sandboxes.entities import Execution, ExecutionChunk, ExecutionStatus, Sandbox
from thane.interfaces.local import Answer, InProcess
from thane.kernel.clock import from_us
from thane.kernel.context import Context, system_context
from thane.kernel.jobs import Tools
from thane.kernel.records import Entrant, Unit
from thane.kernel.settings import load
from thane.maintenance.findings import Report
from thane.maintenance.verify import verify

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


class SetClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.us = 1_790_000_000_000_000

    def now_us(self) -> int:
        return self.us

    def pass_(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> None:
        self.us += int(days * DAY_US + hours * HOUR_US + seconds * 1_000_000)


class Home:
    """One opened folder."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.clock = SetClock()
        values = {name.replace("__", "."): value for name, value in settings.items()}
        self.settings = load(None, {}, values).settings
        self.system = System(self.settings, data_folder(path, self.settings), role="test", clock=self.clock)

    async def __aenter__(self) -> Home:
        await self.system.open()
        system = self.system
        self.engine, self.records = system.engine, system.records
        self.tools = Tools(system.records, self.clock, system.ids, system.pipeline.as_system)
        owner = (await system.accounts.local_owner()).principal
        assert owner.user_id is not None
        self.tenant_id, self.user_id = owner.tenant_id, owner.user_id
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.system.stop()

    # -- what tests do with it --------------------------------------------------------------

    def context(self) -> Context:
        return system_context(self.tenant_id, self.system.ids.new("req"), self.clock.now_us())

    async def change(self, handler: Callable[[Unit], Awaitable[Any]]) -> int:
        """Run a unit with an entry; its index."""
        entrant = Entrant(
            kind="record", operation="tests.change", outcome="done", subject=self.tenant_id, details=b"{}"
        )
        result = await self.records.run(self.context(), handler, lambda unit, value: entrant)
        assert result.committed.index is not None
        return result.committed.index

    async def housekeep(self, *rows: Any) -> None:
        async def write(unit: Unit) -> None:
            unit.create_many(rows)

        await self.tools.housekeep(self.tenant_id, write)

    async def count(self, cls: type[Any], *, tenant_id: str | None = None) -> int:
        return await self.records.unit(self.tools.context(tenant_id or self.tenant_id)).count(cls)

    async def api(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Over the whole HTTP host, as the owner."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await InProcess(self.system.app).call(method, f"/api/v1{path}", body, headers=sent)

    async def sandbox(self, name: str) -> Sandbox:
        answer = await self.api("POST", "/sandboxes", {"name": name})
        assert answer.status == 201, answer
        return await self.records.unit(self.context()).get(Sandbox, answer.body["id"])

    async def entry(self, answer: Answer) -> int:
        return int(answer.headers["thane-ledger-index"])

    async def execution(self, sandbox: Sandbox, *, chunks: int = 1) -> Execution:
        """One that runs, with output of now. Its rows are written as the domain writes them."""
        now = from_us(self.clock.now_us())
        made = Execution(
            id=self.system.ids.new("exe"),
            tenant_id=self.tenant_id,
            project_id=sandbox.project_id,
            sandbox_id=sandbox.id,
            user_id=self.user_id,
            code="print(1)",
            language="python",
            status=ExecutionStatus.RUNNING,
            created_at=now,
            started_at=now,
        )

        async def write(unit: Unit) -> None:
            unit.create(made)

        await self.change(write)
        await self.housekeep(
            *(
                ExecutionChunk(
                    id=self.system.ids.new("chk"),
                    tenant_id=self.tenant_id,
                    execution_id=made.id,
                    seq=seq,
                    stream="stdout",
                    data=b"1\n",
                    created_at=now,
                )
                for seq in range(chunks)
            )
        )
        return made

    async def complete(self, execution: Execution) -> None:
        async def write(unit: Unit) -> None:
            row = await unit.get(Execution, execution.id)
            await unit.update(row, status=ExecutionStatus.COMPLETED, completed_at=unit.now)

        await self.change(write)

    async def verified(self, *more: Any) -> Report:
        """Sign what there is and verify all of it."""
        await self.system.signer.sign_now()
        report = await verify(self.records, self.system.signer.verifier, (*CHECKS, *more))
        assert report.ok, report.text()
        return report

    async def operations(self) -> list[str]:
        """Of the tenant's entries, in order."""
        size = await self.engine.log_size(self.tenant_id)
        rows = await self.engine.entries(self.tenant_id, 0, size)
        return [msgspec.json.decode(row.leaf)["operation"] for row in rows]
