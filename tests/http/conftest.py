"""One server for all tests of the HTTP API, over a folder with two tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.program import Served
from thane.adapters.disk import DataFolder
from thane.bootstrap.system import System
from thane.domains.accounts import CreateKey, CreateTenant, User
from thane.kernel.context import Principal, PrincipalKind
from thane.kernel.operations.call import Call
from thane.kernel.operations.pipeline import Pipeline
from thane.kernel.ports.identity import Identified
from thane.kernel.settings import load


class House(NamedTuple):
    """A running server, the key of another tenant's owner, and a key that has expired by now."""

    server: Served
    stranger: str
    expired: str


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    data = tmp_path_factory.mktemp("http") / "data"
    stranger, expired = asyncio.run(_furnish(data))
    server = Served(data)
    yield House(server, stranger, expired)
    assert server.stop() == 0, server.log.read_text()


@pytest.fixture(scope="session")
def server(house: House) -> Served:
    return house.server


async def _furnish(data: Path) -> tuple[str, str]:
    system = System(load(None, {}).settings, DataFolder(data), role="test")
    await system.start()
    try:
        other = system.ids.new("tnt")
        founded = CreateTenant(name="other", email="owner@other.example")
        await system.pipeline.as_system("tenants.create", other, founded)
        stranger = await key_for(system, other, CreateKey(name="stranger"))
        owner = await system.accounts.local_owner()
        soon = datetime.now(UTC) + timedelta(milliseconds=300)
        expired = await key_for(system, owner.principal.tenant_id, CreateKey(name="old", expires_at=soon))
        return stranger, expired
    finally:
        await system.stop()


async def key_for(system: System, tenant_id: str, request: CreateKey) -> str:
    """A key of a tenant's owner."""
    users = [u for u in await system.records.across(User) if u.tenant_id == tenant_id]
    owner = users[0]
    principal = Principal(
        kind=PrincipalKind.USER,
        id=owner.id,
        tenant_id=tenant_id,
        user_id=owner.id,
        role="admin",
        permissions=frozenset({"*"}),
        actor_chain=(owner.id,),
    )
    reply = await answered(system.pipeline, "api_keys.create", principal, request)
    return str(reply)


async def answered(pipeline: Pipeline, name: str, principal: Principal, request: CreateKey) -> str:
    import msgspec

    call = Call(
        operation=pipeline.operations.get(name),
        request_id=pipeline.ids.new("req"),
        identified=Identified(principal=principal),
        body=msgspec.json.encode(request),
    )
    key: str = (await pipeline.call(call)).value.key
    return key
