"""The run that calls belong to: set by `with thane.run(…)`, for this thread or task and what it starts."""

from __future__ import annotations

from contextvars import ContextVar, Token

Opened = tuple[tuple[object, str], ...]
_OPEN: ContextVar[Opened] = ContextVar("thane_client_runs", default=())


def enter(owner: object, run_id: str) -> Token[Opened]:
    """From here on calls over `owner`'s connections belong to this run."""
    return _OPEN.set((*_OPEN.get(), (owner, run_id)))


def leave(token: Token[Opened]) -> None:
    """Back to what it was before."""
    _OPEN.reset(token)


def current(owner: object) -> str | None:
    """The innermost run that is open over `owner`."""
    return next((run_id for whose, run_id in reversed(_OPEN.get()) if whose is owner), None)
