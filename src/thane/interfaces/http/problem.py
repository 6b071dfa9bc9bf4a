"""Errors as `application/problem+json` (RFC 9457). The only place that formats one for HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from thane.kernel.errors import ThaneError

CONTENT_TYPE = b"application/problem+json"
TYPES = "urn:thane:problem:"


class ProblemFault(msgspec.Struct, frozen=True):
    """One thing that is wrong with the input; `pointer` is a JSON pointer into the request."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every refusal looks like. Further members may tell more, such as `needs` or `intent_index`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retryable: bool
    hint: str
    errors: tuple[ProblemFault, ...] = ()


def problem_of(error: ThaneError, request_id: str) -> dict[str, Any]:
    """The document of an error. What it carries in `extra` comes after the members of every problem."""
    made = Problem(
        type=TYPES + error.code,
        title=error.title,
        status=error.status,
        detail=error.message,
        code=error.code,
        request_id=request_id,
        retryable=error.retryable,
        hint=error.hint,
        errors=tuple(ProblemFault(*fault) for fault in error.faults),
    )
    document: dict[str, Any] = msgspec.to_builtins(made)
    for name, value in error.extra.items():
        if value is not None and name not in document and name != "final":
            document[name] = msgspec.to_builtins(value, str_keys=True)
    return document


def defect(request_id: str) -> ThaneError:
    """What is told of an error that is none of the tree's: nothing but where to look."""
    return ThaneError(
        "something went wrong in Thane",
        hint=f"Look for {request_id} in the server's log.",
    )


def problem_headers(error: ThaneError) -> list[tuple[bytes, bytes]]:
    """Headers that go with a status."""
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="thane"'))
    return headers
