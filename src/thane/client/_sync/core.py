"""One call from its fields to its result: headers, deadline, repetitions, errors.

Made by `just sdk` from `_async`; do not edit.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from thane.client import opened
from thane.client._sync.http import Answer, Http
from thane.client._sync.streams import wait
from thane.client.convert import read
from thane.client.errors import error_of
from thane.client.events import Progress, Reader
from thane.client.op import Op
from thane.client.policy import IN_PROGRESS, Deadline, Options, pause, worth_repeating
from thane.client.problem import ApiError, ConnectionLost, HungUp, SecretLost, UnexpectedAnswer
from thane.client.wire import Events, Head, request, target

T = TypeVar("T")
Fields = Mapping[str, Any]
EVENTS = "text/event-stream"


class Core:
    """Calls operations of one server. `Thane` and every bound object hold one."""

    def __init__(self, http: Http, key: str | None, options: Options) -> None:
        self.http = http
        self.options = options
        self._key = key

    def but(self, options: Options) -> Core:
        """The same connections and key with other options."""
        return Core(self.http, self._key, options)

    def __repr__(self) -> str:
        return f"<{self.http.address.shown}>"

    def call(
        self,
        op: Op,
        kind: type[T],
        values: Fields,
        fields: Fields,
        *,
        if_match: int | None = None,
        outlive: bool = True,
    ) -> T:
        """Ask for an operation: `values` go into its path, `fields` into body or query."""
        call = _Call(self, op, values, fields, if_match, outlive, None)
        answer, body = call.send(whole=True)
        data = _json(answer.head, body)
        if op.secrets and answer.head.headers.get("idempotency-replayed") == "true":
            raise _secret_lost(op, data)
        return read(kind, data, self)

    def fetch(self, op: Op, values: Fields, fields: Fields) -> bytes:
        """Ask for an operation whose answer is bytes."""
        _, body = _Call(self, op, values, fields, None, True, "*/*").send(whole=True)
        return body

    def stream(
        self, op: Op, kind: type[T], values: Fields, fields: Fields, *, outlive: bool = True
    ) -> Iterator[Progress | T]:
        """Ask for an effect and yield what comes while it is at work, then its result.

        If the connection breaks, it is taken up again, and nothing is shown twice.
        """
        call = _Call(self, op, values, fields, None, outlive, EVENTS)
        reader, breaks = Reader(), 0
        while True:
            answer, body = call.send(whole=False)
            try:
                if not answer.head.headers.get("content-type", "").startswith(EVENTS):
                    yield read(kind, _json(answer.head, body), self)
                    return
                for name, data in _events(answer):
                    if name == "result":
                        yield read(kind, data, self)
                        return
                    if name == "error":
                        raise error_of(int(data.get("status", 500)), data)
                    progress = reader.progress(name, data)
                    if progress is not None:
                        yield progress
                raise HungUp("the stream ended without a result")
            except HungUp as fault:
                breaks += 1
                if not call.repeatable or breaks > self.options.retries:
                    raise
                call.pause(breaks, fault)
            finally:
                answer.close()

    def headers(self, op: Op, accept: str | None, key: str | None, if_match: int | None) -> dict[str, str]:
        """What goes with a request."""
        made = {"user-agent": "thane-python"}
        if accept is not None:
            made["accept"] = accept
        if self._key is not None:
            made["authorization"] = f"Bearer {self._key}"
        run_id = opened.current(self.http) or self.options.run_id
        if run_id is not None:
            made["thane-run"] = run_id
        if self.options.project_id is not None:
            made["thane-project"] = self.options.project_id
        if key is not None:
            made["idempotency-key"] = key
        if if_match is not None:
            made["if-match"] = f'"{if_match}"'
        return made


class _Call:
    """One request, its deadline, and how often it may be sent."""

    def __init__(
        self,
        core: Core,
        op: Op,
        values: Fields,
        fields: Fields,
        if_match: int | None,
        outlive: bool,
        accept: str | None,
    ) -> None:
        self._core = core
        options = core.options
        self.deadline = Deadline(options.effect_timeout if op.outside else options.timeout)
        key = uuid.uuid4().hex if op.keyed and outlive else None
        # With its key, a repetition finds what the first one did instead of doing it again.
        self.repeatable = op.reads or key is not None
        where = target(
            op.path, values, {} if op.has_body else {n: v for n, v in fields.items() if n != op.takes}
        )
        headers = core.headers(op, accept, key, if_match)
        body = fields if op.has_body else fields.get(op.takes, b"") if op.takes else None
        self._raw = request(core.http.address, op.method, where, headers, body)

    def send(self, *, whole: bool) -> tuple[Answer, bytes]:
        """The answer and, if it is to come `whole` or is no stream, its body. ApiError for a problem."""
        attempt = 0
        while True:
            try:
                return self._once(whole)
            except (ConnectionLost, ApiError) as fault:
                attempt += self._counts(fault)
                if attempt > self._core.options.retries:
                    raise
                self.pause(max(attempt, 1), fault)

    def _counts(self, fault: ConnectionLost | ApiError) -> int:
        """1, or 0 for waiting on the first request with our key; raises what must not be repeated."""
        if isinstance(fault, HungUp) and not self.repeatable:
            raise fault
        if isinstance(fault, ApiError):
            if not self.repeatable or not worth_repeating(fault):
                raise fault
            return 0 if fault.code == IN_PROGRESS else 1
        return 1

    def pause(self, attempt: int, fault: ConnectionLost | ApiError) -> None:
        """Wait before attempt number `attempt`; raise `fault` if there is no time for it."""
        seconds = pause(attempt, fault.retry_after if isinstance(fault, ApiError) else None)
        if seconds >= self.deadline.left:
            raise fault
        wait(seconds)

    def _once(self, whole: bool) -> tuple[Answer, bytes]:
        answer = self._core.http.send(self._raw, self.deadline, fresh=not self.repeatable)
        streamed = answer.head.headers.get("content-type", "").startswith(EVENTS)
        if streamed and not whole:
            return answer, b""
        body = answer.read()
        if answer.head.status < 300:
            return answer, body
        raise _error(answer.head, body)


def _events(answer: Answer) -> Iterator[tuple[str, Any]]:
    events = Events()
    for part in answer.parts():
        for event in events.feed(part):
            yield event


def _json(head: Head, body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError as fault:
        kind = head.headers.get("content-type", "no type")
        raise UnexpectedAnswer(
            f"the answer is no JSON ({kind})", "Check that the URL is a Thane server's."
        ) from fault


def _error(head: Head, body: bytes) -> ApiError:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "code" not in problem:
        problem = {"detail": f"the answer has status {head.status} and is no problem of Thane"}
    return error_of(head.status, problem, head.headers.get("thane-request-id", ""), head.retry_after)


def _secret_lost(op: Op, data: Any) -> SecretLost:
    what = data.get("id") or op.name if isinstance(data, dict) else op.name
    return SecretLost(
        f"{what} was made, but the connection broke before its {op.secrets[0]} was shown",
        "It is shown only once: revoke it if it can be, and make another one.",
        data,
    )
