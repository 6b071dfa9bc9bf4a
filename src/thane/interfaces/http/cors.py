"""Which pages of other origins may call from a browser: none, unless `http.cors_origins` names them.

No cookie is ever read here, so nothing is sent by a browser on its own: a page must know a
key. Who is not a browser is not concerned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from thane.interfaces.http.asgi import Headers, Scope

MAX_AGE_SECONDS: Final = 600
_MAY_SEND: Final = (
    b"authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, "
    b"thane-project, thane-request-id, thane-run"
)
_MAY_READ: Final = (
    b"etag, idempotency-replayed, location, retry-after, thane-intent-index, thane-ledger-index, "
    b"thane-request-id"
)


class Cors:
    """The origins that are let in; `*` among them is every one."""

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self._all = "*" in origins
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def admits(self, origin: bytes) -> bool:
        """Whether pages of an origin may call."""
        return self._all or origin.lower() in self._origins

    def headers(self, scope: Scope) -> Headers:
        """What goes with every answer: the origin if it may read it, and that answers differ by origin."""
        origin = origin_of(scope)
        made: Headers = [(b"vary", b"origin")]
        if origin is not None and self.admits(origin):
            made += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _MAY_READ)]
        return made

    def preflight(self, allow: bytes) -> Headers:
        """What an answer to OPTIONS adds, after `headers` has named the origin."""
        return [
            (b"access-control-allow-methods", allow),
            (b"access-control-allow-headers", _MAY_SEND),
            (b"access-control-max-age", b"%d" % MAX_AGE_SECONDS),
        ]


def origin_of(scope: Scope) -> bytes | None:
    """The page's origin, if a browser names one."""
    for name, value in scope["headers"]:
        if name == b"origin":
            found: bytes = value
            return found
    return None
