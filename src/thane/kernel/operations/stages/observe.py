"""Stage: what is told of a request that is over: its access row and its figures."""

from __future__ import annotations

import time

from thane.kernel.clock import Clock
from thane.kernel.operations.access import AccessLog
from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.declare import Effect
from thane.kernel.ports.observer import Observer


class Observe:
    def __init__(self, access: AccessLog, observer: Observer, clock: Clock) -> None:
        self._access = access
        self._observer = observer
        self._clock = clock

    def answered(self, call: Call, reply: Reply, started: float) -> None:
        """A read leaves an access row, as does a replay, which changed nothing; a change has its entry."""
        if call.operation.effect is Effect.NONE or reply.replayed:
            self._access.note(call, reply.status, None, self._clock.now_us())
        self._observer.answered(call.operation.name, reply.status, None, time.perf_counter() - started)

    def refused(self, call: Call, status: int, code: str, started: float) -> None:
        """A refusal or a failure always leaves an access row."""
        self._access.note(call, status, code, self._clock.now_us())
        self._observer.answered(call.operation.name, status, code, time.perf_counter() - started)
