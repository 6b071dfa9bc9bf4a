"""The rule of projects: whoever names one must mean an active one of their tenant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from thane.adapters.disk import DataFolder
from thane.bootstrap.system import System
from thane.domains.projects.entities import Project, ProjectStatus
from thane.domains.projects.errors import ProjectInactive
from thane.kernel.context import Context
from thane.kernel.records import Entrant, Unit
from thane.kernel.settings import load

pytestmark = pytest.mark.anyio


async def test_nothing_can_be_done_in_an_archived_project(tmp_path: Path) -> None:
    system = System(load(None, {}).settings, DataFolder(tmp_path / "data"), role="test")
    await system.start()
    try:
        owner = await system.accounts.local_owner()
        context = Context(
            tenant_id=owner.principal.tenant_id,
            principal=owner.principal,
            request_id="req_test",
            now_us=system.clock.now_us(),
        )

        async def archived(unit: Unit) -> Project:
            default = await unit.get(Project, str(owner.project_id))
            fields: dict[str, Any] = {
                "id": unit.new_id(Project),
                "slug": "old",
                "status": ProjectStatus.ARCHIVED,
            }
            return unit.create(msgspec.structs.replace(default, **fields))  # type: ignore[type-var]

        made = await system.records.run(
            context,
            archived,
            lambda unit, value: Entrant(
                kind="record", operation="projects.create", outcome="done", subject=owner.principal.subject
            ),
        )
        inside = msgspec.structs.replace(context, project_id=made.value.id)
        with pytest.raises(ProjectInactive, match="archived"):
            await system.projects.judge(system.records.unit(inside), "runs.create", None)
    finally:
        await system.stop()
