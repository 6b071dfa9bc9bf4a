"""What can be asked of contexts."""

from __future__ import annotations

import msgspec

from thane.domains.sandboxes.operations.executions import ContextName
from thane.domains.sandboxes.service import (
    ContextEnded,
    ContextsService,
    ContextView,
    EndContext,
)
from thane.kernel.operations.declare import Effect, Example, Outside, Progress, StillRunning, operation
from thane.kernel.records import Unit


class CreateContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str
    name: ContextName | None = None


@operation(
    "contexts.create",
    http="POST /sandboxes/{sandbox_id}/contexts",
    needs="contexts.create",
    effect=Effect.RECORDS,
    example=Example({"sandbox_id": "$sandboxes.create/id", "name": "analysis"}),
)
async def create_context(contexts: ContextsService, unit: Unit, request: CreateContext) -> ContextView:
    """Create a context: variables that survive from one execution to the next.

    Its interpreter starts with its first execution. A context that is only used is created by that.
    """
    return await contexts.create(unit, request.sandbox_id, request.name)


class ListContexts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str


class ContextList(msgspec.Struct, frozen=True, kw_only=True):
    """The contexts of a sandbox."""

    items: tuple[ContextView, ...]


@operation(
    "contexts.list",
    http="GET /sandboxes/{sandbox_id}/contexts",
    needs="contexts.list",
    effect=Effect.NONE,
    example=Example({"sandbox_id": "$sandboxes.create/id"}),
)
async def list_contexts(contexts: ContextsService, unit: Unit, request: ListContexts) -> ContextList:
    """List a sandbox's contexts, and which of them have lost their variables."""
    return ContextList(items=await contexts.list(unit, request.sandbox_id))


class NameContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str
    name: ContextName


class ContextResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a context. `was_alive`: it had an interpreter; `failed`: why that lives on."""

    name: str
    sandbox_id: str
    was_alive: bool
    failed: str | None


class _End(Outside[NameContext, EndContext, ContextEnded, ContextResult]):
    service: ContextsService
    remove = False

    async def prepare(self, unit: Unit, request: NameContext) -> EndContext:
        return await self.service.prepare(unit, request.sandbox_id, request.name, remove=self.remove)

    async def act(self, intent: EndContext, request: NameContext, progress: Progress) -> ContextEnded:
        return await self.service.act(intent)

    async def settle(self, unit: Unit, intent: EndContext, outcome: ContextEnded) -> ContextResult:
        await self.service.settle(unit, intent, outcome)
        return ContextResult(
            name=intent.name,
            sandbox_id=intent.id,
            was_alive=outcome.was_alive,
            failed=outcome.failed,
        )

    async def recover(self, intent: EndContext) -> ContextEnded | StillRunning:
        return await self.service.recover(intent)


@operation(
    "contexts.restart",
    http="POST /sandboxes/{sandbox_id}/contexts/{name}/restart",
    needs="contexts.restart",
    effect=Effect.OUTSIDE,
    status=200,
    example=Example({"sandbox_id": "$sandboxes.create/id", "name": "analysis"}, before=("contexts.create",)),
)
class RestartContext(_End):
    """Restart a context: end its interpreter with what runs in it. Its next execution begins anew."""


@operation(
    "contexts.remove",
    http="POST /sandboxes/{sandbox_id}/contexts/{name}/remove",
    needs="contexts.remove",
    effect=Effect.OUTSIDE,
    status=200,
    example=Example({"sandbox_id": "$sandboxes.create/id", "name": "analysis"}, before=("contexts.restart",)),
)
class RemoveContext(_End):
    """Remove a context with its interpreter and what runs in it."""

    remove = True


CONTEXTS = (create_context, list_contexts, RestartContext, RemoveContext)
