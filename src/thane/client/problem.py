"""What can go wrong, as exceptions. The classes by problem code are in `errors.py`, made from the server's.

Every error says what happened (`message`) and what to do next (`hint`); what the server
refused also says its code, its request and where the input is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the input; `pointer` is a JSON pointer into the request."""

    pointer: str
    code: str
    detail: str


class ThaneError(Exception):
    """Root of all that this package raises on purpose."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}".strip() if self.hint else self.message


class ConnectionLost(ThaneError):
    """The server could not be reached, or hung up, as often as was tried."""


class Unreached(ConnectionLost):
    """Nobody answered at the address: nothing was sent."""


class HungUp(ConnectionLost):
    """The connection broke before the whole answer came. What was asked for may have been done."""


class TimedOut(ThaneError):
    """The time that the call was given is over. What it began may have been done."""


class UnexpectedAnswer(ThaneError):
    """What came back is no answer of Thane: a proxy's page, or a much older or newer server."""


class SecretLost(ThaneError):
    """It was made, but the connection broke before its secret was shown, and it is shown only once.

    `answer` is what the server still tells of it.
    """

    def __init__(self, message: str, hint: str, answer: Mapping[str, Any]) -> None:
        super().__init__(message, hint)
        self.answer = answer


class ProgramFailed(ThaneError):
    """What `check()` of a result raises when the program did not complete."""


class ApiError(ThaneError):
    """What the server refused. Catch a subclass of `thane.client.errors` to catch one code.

    `code` is the problem's, also where this package knows no class for it.
    """

    code: str = ""

    def __init__(
        self, status: int, problem: Mapping[str, Any], request_id: str = "", retry_after: float | None = None
    ) -> None:
        message = str(problem.get("detail") or problem.get("title") or f"status {status}")
        super().__init__(message, str(problem.get("hint") or ""))
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code") or "")
        self.title = str(problem.get("title") or "")
        self.request_id = str(problem.get("request_id") or request_id)
        self.retryable = problem.get("retryable") is True
        self.retry_after = retry_after
        self.errors = _faults(problem.get("errors"))

    def __str__(self) -> str:
        lines = [f"{self.message} ({self.code or self.status})"]
        lines += [f"  {fault.pointer or '/'}: {fault.detail}" for fault in self.errors]
        lines += [f"  {line}" for line in (self.hint, self.request_id) if line]
        return "\n".join(lines)


def _faults(found: Any) -> tuple[Fault, ...]:
    if not isinstance(found, list):
        return ()
    return tuple(
        Fault(str(one.get("pointer", "")), str(one.get("code", "")), str(one.get("detail", "")))
        for one in found
        if isinstance(one, dict)
    )
