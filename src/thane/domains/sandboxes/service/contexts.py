"""Rules of contexts: interpreters of a sandbox whose variables survive from one execution to the next.

The sandbox's row knows which there are and which have an interpreter; the isolation program
has the interpreters. Where the two disagree, the variables are gone, and that is said.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from thane.domains.sandboxes.entities import ContextState, Sandbox, SandboxStatus
from thane.domains.sandboxes.errors import ContextExists, ContextNotFound, SandboxTerminated
from thane.domains.sandboxes.service.executions import with_context
from thane.kernel.errors import Gone, NotFound, ThaneError
from thane.kernel.ports.isolation import Context, Isolation
from thane.kernel.records import Unit


class ContextStatus(StrEnum):
    """`lost`: its variables are gone, which its next execution will say; the one after begins anew."""

    CREATED = "created"
    LIVE = "live"
    LOST = "lost"


class ContextView(msgspec.Struct, frozen=True, kw_only=True):
    """A context; `executions` are those of its interpreter so far."""

    name: str
    sandbox_id: str
    status: ContextStatus
    executions: int = 0


class EndContext(msgspec.Struct, frozen=True, kw_only=True):
    """The intent to end a context's interpreter."""

    id: str  # the sandbox
    name: str
    remove: bool


class ContextEnded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: whether it had an interpreter, and why that could not be ended."""

    was_alive: bool
    failed: str | None = None

    @property
    def status(self) -> str:
        return "done" if self.failed is None else "failed"


class ContextsService:
    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation

    async def create(self, unit: Unit, sandbox_id: str, name: str | None) -> ContextView:
        """A name for variables; its interpreter starts with its first execution."""
        sandbox = await self._usable(unit, sandbox_id)
        number = 1 + sum(known.startswith("context-") for known in sandbox.contexts)
        while name is None:
            offered = f"context-{number}"
            name, number = (None if offered in sandbox.contexts else offered), number + 1
        if name in sandbox.contexts:
            raise ContextExists("contexts", f"the sandbox {sandbox_id} has a context {name} already")
        await unit.update(sandbox, contexts=with_context(sandbox, name, ContextState.CREATED))
        return ContextView(name=name, sandbox_id=sandbox_id, status=ContextStatus.CREATED)

    async def list(self, unit: Unit, sandbox_id: str) -> tuple[ContextView, ...]:
        """All contexts, in the order of their names."""
        sandbox = await unit.get(Sandbox, sandbox_id)
        live = await self._alive(sandbox)
        return tuple(_view(sandbox, name, live.get(name)) for name in sorted(sandbox.contexts))

    async def _alive(self, sandbox: Sandbox) -> dict[str, Context]:
        if sandbox.container_id is None:
            return {}
        try:
            return {c.name: c for c in await self._isolation.contexts(sandbox.id) if c.alive}
        except (NotFound, Gone):
            return {}

    async def prepare(self, unit: Unit, sandbox_id: str, name: str, *, remove: bool) -> EndContext:
        sandbox = await self._usable(unit, sandbox_id)
        if name not in sandbox.contexts:
            raise ContextNotFound(f"the sandbox {sandbox_id} has no context {name}")
        return EndContext(id=sandbox_id, name=name, remove=remove)

    async def act(self, intent: EndContext) -> ContextEnded:
        """End its interpreter with what runs in it."""
        try:
            await self._isolation.end_context(intent.id, intent.name)
        except (NotFound, Gone):
            return ContextEnded(was_alive=False)
        except ThaneError as fault:
            return ContextEnded(was_alive=True, failed=fault.message)
        return ContextEnded(was_alive=True)

    async def settle(self, unit: Unit, intent: EndContext, ended: ContextEnded) -> None:
        sandbox = await unit.find(Sandbox, intent.id)
        if sandbox is None or ended.failed is not None or intent.name not in sandbox.contexts:
            return
        contexts = {**sandbox.contexts, intent.name: ContextState.CREATED}
        if intent.remove:
            del contexts[intent.name]
        await unit.update(sandbox, contexts=contexts)

    async def recover(self, intent: EndContext) -> ContextEnded:
        """Whether it has ended, asked without ending it."""
        try:
            alive = intent.name in {c.name for c in await self._isolation.contexts(intent.id) if c.alive}
        except (NotFound, Gone):
            alive = False
        why = "the server ended before the context was ended; ask for it again" if alive else None
        return ContextEnded(was_alive=alive, failed=why)

    async def _usable(self, unit: Unit, sandbox_id: str) -> Sandbox:
        sandbox = await unit.get(Sandbox, sandbox_id)
        if sandbox.status is SandboxStatus.TERMINATED:
            raise SandboxTerminated(f"the sandbox {sandbox_id} is terminated")
        return sandbox


def _view(sandbox: Sandbox, name: str, found: Context | None) -> ContextView:
    status = ContextStatus.CREATED
    if sandbox.contexts[name] is ContextState.LIVE:
        status = ContextStatus.LOST if found is None else ContextStatus.LIVE
    executions = 0 if found is None else found.executions
    return ContextView(name=name, sandbox_id=sandbox.id, status=status, executions=executions)
