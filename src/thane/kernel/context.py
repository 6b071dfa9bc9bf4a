"""Who acts, for whom, and in which piece of work. One value goes with every unit."""

from __future__ import annotations

from enum import StrEnum

import msgspec

SYSTEM_TENANT = "tnt_00000000000070008000000000000000"


class PrincipalKind(StrEnum):
    USER = "user"
    AGENT = "agent"
    KEY = "key"
    SYSTEM = "system"
    ANONYMOUS = "anonymous"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. `permissions` are names of operations or patterns such as `sandboxes.*`;
    `subject` is whose data key seals what they send."""

    kind: PrincipalKind
    id: str
    tenant_id: str
    user_id: str | None
    role: str
    permissions: frozenset[str] = frozenset()
    actor_chain: tuple[str, ...] = ()
    plan: str = "free"

    @property
    def subject(self) -> str:
        return self.user_id or self.tenant_id


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """`actor_chain` runs from the root (a user) to who acts now; `now_us` holds for the whole request."""

    tenant_id: str
    principal: Principal
    request_id: str
    now_us: int
    project_id: str | None = None
    run_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None

    @property
    def actor_chain(self) -> tuple[str, ...]:
        return self.principal.actor_chain or (self.principal.id,)

    @property
    def user_id(self) -> str | None:
        return self.principal.user_id


def system_context(tenant_id: str, request_id: str, now_us: int, *, run_id: str | None = None) -> Context:
    """The context of a job or the reconciler: principal `system`, acting inside one tenant."""
    principal = Principal(
        kind=PrincipalKind.SYSTEM,
        id="system",
        tenant_id=tenant_id,
        user_id=None,
        role="system",
        permissions=frozenset({"*"}),
        actor_chain=("system",),
    )
    return Context(
        tenant_id=tenant_id, principal=principal, request_id=request_id, now_us=now_us, run_id=run_id
    )
