"""Stage: who asks? Makes the context that goes with the request from here on."""

from __future__ import annotations

from typing import Final

from thane.kernel.clock import Clock
from thane.kernel.context import SYSTEM_TENANT, Context, Principal, PrincipalKind
from thane.kernel.errors import Invalid, Unauthorized
from thane.kernel.ids import is_id
from thane.kernel.operations.call import Call
from thane.kernel.ports.identity import Identified, Identity

ANONYMOUS: Final = Identified(
    principal=Principal(
        kind=PrincipalKind.ANONYMOUS, id="anonymous", tenant_id=SYSTEM_TENANT, user_id=None, role="anonymous"
    )
)


class Identify:
    """From credentials to a context."""

    def __init__(self, identity: Identity, clock: Clock) -> None:
        self._identity = identity
        self._clock = clock

    async def __call__(self, call: Call) -> None:
        """Set the call's context; Unauthorized without valid credentials where they are needed, Invalid for a
        run or project that is named by no id."""
        found = call.identified
        if found is None:
            if call.operation.declaration.anonymous:
                found = ANONYMOUS
            elif call.bearer is None:
                raise Unauthorized("the request carries no credentials")
            else:
                found = await self._identity.identify(call.bearer)
        # After the key: who has none is told that, and nothing else.
        if call.run_id is not None and not is_id(call.run_id, "run"):
            raise Invalid(
                "the header Thane-Run is no run's id",
                hint="Send the id that `runs.create` returned, or none.",
            )
        if call.project_id is not None and not is_id(call.project_id, "prj"):
            raise Invalid("the header Thane-Project is no project's id", hint="Send a project's id, or none.")
        self._set(call, found)

    async def concerned(self, call: Call) -> None:
        """For an anonymous operation that names it: whose tenant the validated request concerns."""
        named = call.operation.declaration.identified_by
        if named is not None and call.identified is None:
            self._set(call, await named(call.operation.service, call.request))

    def _set(self, call: Call, found: Identified) -> None:
        principal = found.principal
        call.context = Context(
            tenant_id=principal.tenant_id,
            principal=principal,
            request_id=call.request_id,
            now_us=self._clock.now_us(),
            project_id=call.project_id or found.project_id,
            run_id=call.run_id,
            ip=call.ip,
            user_agent=call.user_agent,
        )
