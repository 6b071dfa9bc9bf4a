"""From an ASGI request to a `Call`: headers read once, nothing decided that a stage decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from thane.interfaces.http.asgi import JSON, Holds, Receive, Scope, read_body
from thane.interfaces.http.forwarded import Proxies
from thane.kernel.errors import Fault, Invalid, NotAcceptable
from thane.kernel.ids import IdFactory, is_id
from thane.kernel.operations.call import Call
from thane.kernel.operations.declare import Effect
from thane.kernel.operations.registry import Bound

WANTED: Final = frozenset(
    (
        b"accept",
        b"authorization",
        b"content-length",
        b"content-type",
        b"idempotency-key",
        b"if-match",
        b"if-none-match",
        b"last-event-id",
        b"thane-request-id",
        b"thane-project",
        b"thane-run",
        b"user-agent",
        b"forwarded",
        b"x-forwarded-for",
    )
)
MAX_HEADER: Final = 1024
MAX_QUERY_FIELDS: Final = 100
# A version that no row has: an If-Match that cannot match must fail like one that does not.
NO_VERSION: Final = -1

Wanted = dict[bytes, bytes]


class Taken(NamedTuple):
    """What is taken of a client: so long a body, of JSON or of a file, counted by `holds`, and the
    word of `proxies`."""

    max_body: int
    max_file: int
    proxies: Proxies
    holds: Holds | None


def headers_of(scope: Scope) -> Wanted:
    """The headers that mean something here."""
    return {name: value for name, value in scope["headers"] if name in WANTED}


def request_id_of(headers: Wanted, ids: IdFactory) -> str:
    """The caller's request id if it is one, else a new one."""
    given = headers.get(b"thane-request-id")
    if given is not None:
        text = given.decode("latin-1")
        if is_id(text, "req"):
            return text
    return ids.new("req")


async def call_of(
    bound: Bound,
    values: Sequence[str],
    scope: Scope,
    headers: Wanted,
    receive: Receive,
    request_id: str,
    edge: Taken,
) -> tuple[Call, str | None]:
    """The call, and the `fields` that the answer is to show. `edge.holds` has counted the call's body."""
    query, fields = _query(bound, scope["query_string"])
    body = b""
    if bound.has_body:
        most = edge.max_file if bound.takes else edge.max_body
        body = await read_body(headers, receive, most, edge.holds, is_file=bool(bound.takes))
        if body and not bound.takes:
            try:
                _check_type(headers.get(b"content-type", b""))
            except NotAcceptable:
                if edge.holds is not None:
                    edge.holds.let_go(len(body))
                raise
    last = _text(headers, b"last-event-id") if bound.streams else None
    if last is not None and all(name != "after" for name, _ in query):
        query.append(("after", last))
    posted = bound.method == "POST" and bound.effect is not Effect.NONE
    call = Call(
        operation=bound,
        request_id=request_id,
        path=dict(zip(bound.path_params, values, strict=True)),
        query=query,
        body=body,
        bearer=_bearer(headers.get(b"authorization")),
        idempotency_key=_text(headers, b"idempotency-key") if posted else None,
        if_match=_if_match(headers.get(b"if-match")),
        run_id=_text(headers, b"thane-run"),
        project_id=_text(headers, b"thane-project"),
        ip=edge.proxies.client_ip(scope, headers),
        user_agent=_text(headers, b"user-agent"),
    )
    return call, fields


def matches_etag(header: bytes | None, version: int) -> bool:
    """If-None-Match: weak comparison, as for GET."""
    if header is None:
        return False
    if header.strip() == b"*":
        return True
    return any(tag.strip().removeprefix(b"W/") == b'"%d"' % version for tag in header.split(b","))


def _query(bound: Bound, raw: bytes) -> tuple[list[tuple[str, str]], str | None]:
    if not raw:
        return [], None
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_QUERY_FIELDS,
        )
    except (UnicodeDecodeError, ValueError) as fault:
        detail = "the query string is not `name=value&…` in percent-encoded UTF-8"
        raise Invalid(detail, faults=(Fault("", "query", detail),)) from fault
    if "fields" in bound.fields:
        return pairs, None
    shown = [value for name, value in pairs if name == "fields"]
    return [pair for pair in pairs if pair[0] != "fields"], ",".join(shown) if shown else None


def _check_type(header: bytes) -> None:
    kind, _, parameters = header.partition(b";")
    kind = kind.strip().lower()
    if kind != JSON and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        shown = kind.decode("latin-1") or "none"
        raise NotAcceptable(f"the body is to be JSON; its Content-Type is {shown}")
    charset = parameters.strip().lower()
    if charset.startswith(b"charset=") and charset[8:].strip(b'"') not in (b"utf-8", b"utf8"):
        raise NotAcceptable("JSON is UTF-8; another charset was named")


def _bearer(header: bytes | None) -> str | None:
    if header is None:
        return None
    scheme, _, token = header.partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    return token.strip().decode("latin-1") or None


def _text(headers: Wanted, name: bytes) -> str | None:
    value = headers.get(name)
    return None if not value else value[:MAX_HEADER].decode("latin-1")


def _if_match(header: bytes | None) -> int | None:
    """`"3"` as 3; `*` asks for nothing that the handler does not ask anyway."""
    if header is None or header.strip() == b"*":
        return None
    text = header.strip()
    digits = text[1:-1]
    if len(text) > 2 and text[:1] == text[-1:] == b'"' and digits.isdigit() and len(digits) < 19:
        return int(digits)
    return NO_VERSION
