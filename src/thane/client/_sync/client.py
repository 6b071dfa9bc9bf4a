"""The client: one server, one key, and everything that can be asked of it.

Made by `just sdk` from `_async`; do not edit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from thane.client import opened
from thane.client._sync.core import Core
from thane.client._sync.http import Http
from thane.client._sync.objects import Run
from thane.client._sync.resources import Resources
from thane.client.errors import RunFinished
from thane.client.policy import Options
from thane.client.problem import ThaneError
from thane.client.wire import address_of

DEFAULT_URL = "http://127.0.0.1:8090"


class Thane(Resources):
    """A Thane server.

        with Thane(url, key) as thane:
            sandbox = thane.sandboxes.create()
            out = sandbox.run_code("print(1)")

    `url` is `http://…`, `https://…` or `unix:///path/to/data/thane.sock`, whose owner needs no
    key; without it THANE_URL, else this machine's port 8090. `key` is an API key; without
    it THANE_API_KEY.

    `timeout` is the most seconds that a call takes, its repetitions included;
    `effect_timeout` is that of calls that run programs. A call that may be repeated without
    doing anything twice is repeated up to `retries` times. `project_id` is the project that calls
    belong to; without it, the key's own.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float | None = None,
        effect_timeout: float | None = None,
        retries: int | None = None,
        project_id: str | None = None,
    ) -> None:
        address = address_of(url or os.environ.get("THANE_URL") or DEFAULT_URL)
        found = key or os.environ.get("THANE_API_KEY") or None
        options = Options().but(
            timeout=timeout, effect_timeout=effect_timeout, retries=retries, project_id=project_id
        )
        super().__init__(Core(Http(address), found, options))

    def with_options(
        self,
        *,
        timeout: float | None = None,
        effect_timeout: float | None = None,
        retries: int | None = None,
        run_id: str | None = None,
        project_id: str | None = None,
    ) -> Thane:
        """The same server, key and connections with some options changed; close only one of them.

        `run_id` is the run that calls belong to: for threads, which do not inherit the one of
        `with thane.run(…)`.
        """
        made = Thane.__new__(Thane)
        options = self._core.options.but(
            timeout=timeout,
            effect_timeout=effect_timeout,
            retries=retries,
            run_id=run_id,
            project_id=project_id,
        )
        Resources.__init__(made, self._core.but(options))
        return made

    @contextmanager
    def run(self, purpose: str | None = None) -> Iterator[Run]:
        """A run for a block: what this client is asked inside belongs to it, and at the end it is finished.

        Its outcome is `completed`, or the name of the exception that left the block; say
        another one with `run.finish("…")`.
        """
        begun = self.runs.create(purpose=purpose)
        token = opened.enter(self._core.http, begun.id)
        try:
            yield begun
        except BaseException as fault:
            opened.leave(token)
            # What left the block matters more than that this could not be said.
            with suppress(ThaneError):
                begun.finish(f"failed: {type(fault).__name__}")
            raise
        opened.leave(token)
        with suppress(RunFinished):  # by its own word, inside the block
            begun.finish("completed")

    def close(self) -> None:
        """Close the connections."""
        self._core.http.close()

    def __enter__(self) -> Thane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.http.address.shown!r})"
