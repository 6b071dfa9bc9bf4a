"""The answer under way: what every answer carries, and how a failure is shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from thane.interfaces.http.asgi import JSON, Headers, Send, respond
from thane.interfaces.http.problem import CONTENT_TYPE, defect, problem_headers, problem_of
from thane.kernel.errors import ThaneError

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class Answer:
    """One answer. `counted(method, status)` is told of it when it begins."""

    def __init__(
        self, send: Send, request_id: str, method: str, counted: Callable[[str, int], None] | None
    ) -> None:
        self.request_id = request_id
        self.more: Headers = []
        self._send = send
        self._method = method
        self._counted = counted
        self._begun = False

    async def raw(self, message: Mapping[str, Any]) -> None:
        """ASGI's `send`, noting that the answer has begun."""
        if message["type"] == "http.response.start":
            self._begun = True
            if self._counted is not None:
                self._counted(self._method, message["status"])
        await self._send(message)

    def accepted(self) -> None:
        """A WebSocket was accepted: there is no other answer any more."""
        self._begun = True
        if self._counted is not None:
            self._counted(self._method, 101)

    def headers(self) -> Headers:
        """What goes with every answer."""
        return [(b"thane-request-id", self.request_id.encode()), (b"cache-control", b"no-store"), *self.more]

    async def send(self, status: int, body: bytes, more: Headers | None = None, kind: bytes = JSON) -> None:
        headers = self.headers() + (more or [])
        if body:
            headers.append((b"content-type", kind))
        await respond(self.raw, status, headers, body, head=self._method == "HEAD")

    async def refuse(self, error: BaseException) -> None:
        """Show an error; one that is none of Thane's tree goes to the log in full."""
        if not isinstance(error, ThaneError):
            log.error("request failed", exc_info=error, extra={"request_id": self.request_id})
            error = defect(self.request_id)
        if self._begun:
            log.error("an answer broke off", extra={"request_id": self.request_id, "code": error.code})
            return
        headers = problem_headers(error)
        if error.status == 413:
            # The rest of the body is not read.
            headers.append((b"connection", b"close"))
        await self.send(error.status, _encode(problem_of(error, self.request_id)), headers, CONTENT_TYPE)
