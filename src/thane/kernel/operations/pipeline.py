"""The pipeline: what every request goes through, whoever carries it.

limit (address) → identify → limit (principal, tenant) → validate → authorise →
[in the unit: idempotency → rules → If-Match → handler] → commit → observe.

Hosts make a `Call` and show the `Reply`, or the error; no rule of the business is in one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from thane.kernel.clock import Clock
from thane.kernel.context import Principal, PrincipalKind
from thane.kernel.errors import ThaneError
from thane.kernel.ids import IdFactory
from thane.kernel.operations.access import AccessLog
from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.declare import Effect
from thane.kernel.operations.outside import LEASE_US, Effects
from thane.kernel.operations.registry import Operations
from thane.kernel.operations.settle import Settler
from thane.kernel.operations.spool import Spool
from thane.kernel.operations.stages.authorise import Authorise
from thane.kernel.operations.stages.execute import Execute
from thane.kernel.operations.stages.idempotency import LIFETIME_US, Idempotency
from thane.kernel.operations.stages.identify import Identify
from thane.kernel.operations.stages.limit import Limit
from thane.kernel.operations.stages.observe import Observe
from thane.kernel.operations.stages.rules import JudgeRules
from thane.kernel.operations.stages.validate import validate
from thane.kernel.operations.streams import HUNG_UP, OpenStreams
from thane.kernel.ports.identity import Identified, Identity
from thane.kernel.ports.limits import Limits
from thane.kernel.ports.observer import Observer
from thane.kernel.ports.passthrough import NoLimits, NoObserver, NoRules
from thane.kernel.ports.permissions import NamedPermissions, Permissions
from thane.kernel.ports.rules import Rules
from thane.kernel.records.store import Records

log = logging.getLogger(__name__)

# What the trail has as the status of a read that was never answered, because its client hung up.
NOBODY_WAITS: Final = 499

_encode = msgspec.json.Encoder().encode


class Ports(msgspec.Struct, kw_only=True):
    """What the pipeline asks of domains. What is not built yet lets everything through."""

    identity: Identity
    permissions: Permissions = msgspec.field(default_factory=NamedPermissions)
    limits: Limits = msgspec.field(default_factory=NoLimits)
    rules: Rules = msgspec.field(default_factory=NoRules)
    observer: Observer = msgspec.field(default_factory=NoObserver)


class Pipeline:
    """One per process and store."""

    def __init__(  # noqa: PLR0913 - the parts of a server, each by its name
        self,
        records: Records,
        operations: Operations,
        ports: Ports,
        *,
        clock: Clock,
        ids: IdFactory,
        spool: Path,
        server_id: str,
        lease_us: int = LEASE_US,
        idempotency_us: int = LIFETIME_US,
    ) -> None:
        self.records = records
        self.operations = operations
        self.clock = clock
        self.ids = ids
        self.identity = ports.identity
        self.access = AccessLog(records.engine, ids, ports.observer)
        self.settler = Settler(records, Spool(spool, records.preparer))
        rules = JudgeRules(ports.rules)
        idempotency = Idempotency(records, operations, lifetime_us=idempotency_us)
        self.effects = Effects(records, clock, idempotency, rules, self.settler, server_id, lease_us=lease_us)
        self._limit = Limit(ports.limits)
        self._identify = Identify(ports.identity, clock)
        self._authorise = Authorise(ports.permissions)
        self._execute = Execute(records, idempotency, rules, self.effects)
        self._observe = Observe(self.access, ports.observer, clock)
        self.streams = OpenStreams(self._again, self._over)

    async def call(self, call: Call) -> Reply:
        """Run one request. Raises ThaneError for a refusal; anything else is a defect."""
        started = time.perf_counter()
        try:
            await self._limit.by_address(call)
            await self._identify(call)
            await self._limit.by_principal(call)
            validate(call)
            await self._identify.concerned(call)
            await self._authorise(call)
            if call.operation.streams:
                self.streams.check_room()
            reply = await self._execute(call)
        except ThaneError as refused:
            self._observe.refused(call, refused.status, refused.code, started)
            raise
        except Exception:
            self._observe.refused(call, ThaneError.status, ThaneError.code, started)
            raise
        except asyncio.CancelledError:
            if call.operation.effect is Effect.NONE:  # an effect tells of its own end
                self._observe.refused(call, NOBODY_WAITS, HUNG_UP, started)
            raise
        self._observe.answered(call, reply, started)
        return reply

    async def _again(self, call: Call) -> None:
        """For a stream that goes on: raises if who asked for it may not have it any more."""
        await self._identify(call)
        await self._authorise(call)

    def _over(self, call: Call, reason: str) -> None:
        """A stream's end leaves an access row, as its beginning did; `code` says why it ended."""
        self.access.note(call, call.operation.status, reason, self.clock.now_us())

    async def as_system(
        self,
        name: str,
        tenant_id: str,
        request: Any,
        *,
        run_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Reply:
        """Run an operation as Thane itself, in one tenant: jobs, schedules. `request` is its struct."""
        bound = self.operations.get(name)
        principal = Principal(
            kind=PrincipalKind.SYSTEM,
            id="system",
            tenant_id=tenant_id,
            user_id=None,
            role="system",
            permissions=frozenset({"*"}),
            actor_chain=("system",),
        )
        values = msgspec.to_builtins(request, str_keys=True)
        path = {name: str(values.pop(name)) for name in bound.path_params}
        call = Call(
            operation=bound,
            request_id=self.ids.new("req"),
            identified=Identified(principal=principal),
            path=path,
            body=_encode(values) if bound.has_body else b"",
            query=() if bound.has_body else [(k, str(v)) for k, v in values.items() if v is not None],
            run_id=run_id,
            idempotency_key=idempotency_key,
        )
        return await self.call(call)

    async def close(self, seconds: float = 10.0) -> None:
        """Let what is under way end (then end it), and hand over the last access rows."""
        await self.streams.close()
        await self.effects.drain(seconds)
        self.access.flush()
