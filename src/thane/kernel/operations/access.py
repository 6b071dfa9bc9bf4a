"""Access rows: who asked for what and left no entry. They ride with the next commit.

A crash may lose the last second of them (docs say so). Memory is bounded: when the store
takes none, the oldest are let go and counted, never the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from typing import Final

from thane.kernel.clock import from_us
from thane.kernel.context import SYSTEM_TENANT
from thane.kernel.errors import ThaneError
from thane.kernel.ids import IdFactory
from thane.kernel.operations.call import Call
from thane.kernel.operations.entities import AccessRow, placed
from thane.kernel.ports.observer import Observer
from thane.kernel.records.engine import Change, Engine, Operation, WriteSet

log = logging.getLogger(__name__)

MOST: Final = 20_000
# More rows than this in one write set would send the batch to the writer's thread.
TOGETHER: Final = 32
WAIT_SECONDS: Final = 0.1


class AccessLog:
    """Collects rows for a moment, so that many share one write set."""

    def __init__(self, engine: Engine, ids: IdFactory, observer: Observer, *, most: int = MOST) -> None:
        self._engine = engine
        self._ids = ids
        self._observer = observer
        self._most = most
        self._waiting: deque[tuple[str, Change]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, call: Call, status: int, code: str | None, now_us: int) -> None:
        """Remember one request."""
        context = call.context
        principal = None if context is None else context.principal
        tenant_id = SYSTEM_TENANT if context is None else context.tenant_id
        row = AccessRow(
            id=self._ids.new("acc"),
            tenant_id=tenant_id,
            principal_id="unknown" if principal is None else principal.id,
            principal_kind="anonymous" if principal is None else principal.kind.value,
            user_id=None if principal is None else principal.user_id,
            operation=call.operation.name,
            resource_type=call.operation.name.partition(".")[0],
            resource_id=call.resource,
            status=status,
            code=code,
            ip_address=call.ip,
            user_agent=call.user_agent,
            request_id=call.request_id,
            run_id=None if context is None else context.run_id,
            created_at=from_us(now_us),
        )
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._observer.access_rows_dropped(1)
        self._waiting.append((tenant_id, placed(row, Operation.CREATE, 0)))
        if len(self._waiting) >= TOGETHER:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand all to the engine now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        by_tenant: defaultdict[str, list[Change]] = defaultdict(list)
        while self._waiting:
            tenant_id, change = self._waiting.popleft()
            by_tenant[tenant_id].append(change)
        for tenant_id, changes in by_tenant.items():
            try:
                self._engine.ride(WriteSet(tenant_id=tenant_id, changes=tuple(changes)))
            except ThaneError as fault:
                self._observer.access_rows_dropped(len(changes))
                log.warning(
                    "access rows were not kept", extra={"count": len(changes), "cause": fault.message}
                )
