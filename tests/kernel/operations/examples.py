"""Run an operation's example, and those it needs before it: one way for every generated test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from thane.kernel.operations.call import Call, Reply
from thane.kernel.operations.registry import Bound, Operations, example_request

Ask = Callable[[Call], Awaitable[Reply]]


def example_call(
    bound: Bound, answers: Mapping[str, Mapping[str, Any]], *, bearer: str, request_id: str
) -> Call:
    """The call of an operation's example, after the answers of those before it."""
    example = bound.declaration.example
    assert example is not None
    values = example_request(example.request, answers)
    path = {name: str(values.pop(name)) for name in bound.path_params}
    query = [] if bound.has_body else [(k, _text(v)) for k, v in values.items()]
    return Call(
        operation=bound,
        request_id=request_id,
        path=path,
        query=query,
        body=msgspec.json.encode(values) if bound.has_body else b"",
        bearer=None if bound.declaration.anonymous else bearer,
    )


async def run_example(operations: Operations, name: str, ask: Ask, *, bearer: str, request_id: str) -> Reply:
    """Ask for what comes before, then for the example itself."""
    answers: dict[str, Any] = {}
    for needed in operations.before(name):
        call = example_call(operations.get(needed), answers, bearer=bearer, request_id=request_id)
        body = (await ask(call)).body
        answers[needed] = msgspec.json.decode(body) if body else {}
    return await ask(example_call(operations.get(name), answers, bearer=bearer, request_id=request_id))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
