"""The local owner: who the person at this machine is to Thane, made at a folder's first use."""

from __future__ import annotations

from typing import Any

import msgspec

from thane.adapters.disk import DataFolder
from thane.domains.accounts import AccountsService, CreateKey, CreateSetupLink, CreateTenant
from thane.kernel.context import SYSTEM_TENANT
from thane.kernel.ids import IdFactory
from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.pipeline import Pipeline
from thane.kernel.operations.registry import Operations


class LocalOwner:
    """Asks operations as the owner of a data folder, by the pipeline like everybody."""

    def __init__(
        self,
        folder: DataFolder,
        accounts: AccountsService,
        operations: Operations,
        pipeline: Pipeline,
        ids: IdFactory,
    ) -> None:
        self._folder = folder
        self._accounts = accounts
        self._operations = operations
        self._pipeline = pipeline
        self._ids = ids

    async def first_use(self) -> bool:
        """Make what is missing: the reserved tenant, then a local tenant with its project, owner and key.

        Whether the folder is new.
        """
        tenants = {t.id for t in await self._accounts.repository.tenants()}
        if SYSTEM_TENANT not in tenants:
            await self._pipeline.as_system("tenants.create", SYSTEM_TENANT, CreateTenant(name="system"))
        is_new = not tenants - {SYSTEM_TENANT}
        if is_new:
            local = self._ids.new("tnt")
            await self._pipeline.as_system(
                "tenants.create", local, CreateTenant(name="local", email="owner@localhost")
            )
        if not self._folder.local_key.exists():
            reply = await self.call("api_keys.create", CreateKey(name="local"))
            self._folder.write_local_key(reply.value.key)
        return is_new

    async def setup_link(self) -> str:
        """A fresh one-time link."""
        reply = await self.call("setup_links.create", CreateSetupLink())
        return str(reply.value.path)

    async def call(self, name: str, request: Any) -> Reply:
        """Run an operation as the owner."""
        call = Call(
            operation=self._operations.get(name),
            request_id=self._ids.new("req"),
            identified=await self._accounts.local_owner(),
            body=msgspec.json.encode(request),
        )
        return await self._pipeline.call(call)
