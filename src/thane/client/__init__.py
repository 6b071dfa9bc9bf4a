"""The Python SDK of Thane. It needs nothing but the standard library, and nothing of the server.

    from thane.client import Thane

    with Thane() as thane:
        out = thane.sandboxes.create().run_code("print(1)")

`AsyncThane` is the same with `await`. Errors are in `thane.client.errors`, what answers
are made of in `thane.client.types`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thane.client import errors, types
from thane.client._sync.client import Thane
from thane.client._sync.objects import Execution, ExecutionResult, Run, Sandbox
from thane.client._sync.pages import Page, Pages
from thane.client.errors import (
    ApiError,
    ConnectionLost,
    Fault,
    HungUp,
    ProgramFailed,
    SecretLost,
    ThaneError,
    TimedOut,
    UnexpectedAnswer,
    Unreached,
)
from thane.client.events import Gap, Output, Progress, Sample

if TYPE_CHECKING:
    from thane.client._async.client import AsyncThane
    from thane.client._async.objects import AsyncExecution, AsyncExecutionResult, AsyncRun, AsyncSandbox
    from thane.client._async.pages import AsyncPages

__all__ = [
    "ApiError",
    "AsyncExecution",
    "AsyncExecutionResult",
    "AsyncPages",
    "AsyncRun",
    "AsyncSandbox",
    "AsyncThane",
    "ConnectionLost",
    "Execution",
    "ExecutionResult",
    "Fault",
    "Gap",
    "HungUp",
    "Output",
    "Page",
    "Pages",
    "ProgramFailed",
    "Progress",
    "Run",
    "Sample",
    "Sandbox",
    "SecretLost",
    "Thane",
    "ThaneError",
    "TimedOut",
    "UnexpectedAnswer",
    "Unreached",
    "errors",
    "types",
]


def __getattr__(name: str) -> Any:
    """The asynchronous twins, when they are asked for: asyncio takes longer to import than all the rest."""
    if not name.startswith("Async") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from thane.client._async import client, objects, pages

    return next(getattr(m, name) for m in (client, objects, pages) if hasattr(m, name))
