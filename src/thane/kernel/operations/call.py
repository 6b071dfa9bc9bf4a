"""What goes into the pipeline and what comes out: one request and its answer, free of any host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from thane.kernel.context import Context
from thane.kernel.operations.registry import Bound
from thane.kernel.ports.identity import Identified

Listener = Callable[[msgspec.Struct], None]


class Call(msgspec.Struct, kw_only=True):
    """One request. The host fills the first part, the stages the second.

    `identified` is preset by hosts that know who asks (the folder's socket, jobs);
    `listener` takes progress as it comes.
    """

    operation: Bound
    request_id: str
    path: dict[str, str] = {}
    query: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    bearer: str | None = None
    identified: Identified | None = None
    idempotency_key: str | None = None
    if_match: int | None = None
    run_id: str | None = None
    project_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    listener: Listener | None = None
    # -- filled on the way
    request: Any = None
    context: Context | None = None
    resource: str | None = None

    @property
    def known(self) -> Context:
        """The context, which is there from `identify` on."""
        assert self.context is not None, "identify has not run"
        return self.context


class Reply(msgspec.Struct, kw_only=True):
    """The answer. `body` is JSON; `version` becomes the ETag.

    `index` is where the entry stands in the tenant's tree (for OUTSIDE the outcome's, beside
    `intent_index`); None for a read or a spooled outcome. `value` is what the handler
    returned, None for a replay.
    """

    status: int
    body: bytes
    version: int | None = None
    replayed: bool = False
    index: int | None = None
    leaf_hash: str | None = None
    intent_index: int | None = None
    resource: str | None = None
    value: Any = None
