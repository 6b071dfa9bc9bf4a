"""What is made from the registry is up to date, complete, and asks for nothing but the standard library."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import require
from tests.support.program import Served
from thane.client import Thane, errors
from thane.client._sync.pages import Pages
from thane.client.convert import write
from thane.kernel.operations.registry import Bound, Operations, example_request
from tools.registry import operations
from tools.sdk.made import FOLDERS, MARK, made
from tools.sdk.problems import classes
from tools.sdk.resources import resource_of
from tools.sdk.twin import twin
from tools.written import stale


@pytest.fixture(scope="module")
def registry() -> Operations:
    return operations()


def test_the_client_is_what_the_registry_makes() -> None:
    require(importlib.util.find_spec("ruff"), "ruff", get="uv sync --group lint")
    assert stale(made(), FOLDERS, ".py", MARK) == [], "run `just sdk`"


def test_a_twin_is_the_same_without_waiting() -> None:
    text = (
        "async def f(x: AsyncThane) -> AsyncIterator[int]:\n"
        '    """Say `await x.run()` in an `async with` block; awaited or not."""\n'
        "    async with x.open() as y:\n        z = await y(await x)  # await y(x)\n"
        "        async for n in z:\n            yield n\n"
    )
    assert twin(text) == (
        "def f(x: Thane) -> Iterator[int]:\n"
        '    """Say `x.run()` in an `with` block; awaited or not."""\n'
        "    with x.open() as y:\n        z = y(x)  # y(x)\n"
        "        for n in z:\n            yield n\n"
    )


def test_every_error_of_the_server_is_a_class_of_the_client() -> None:
    for cls in classes():
        found = errors.error_of(cls.status, {"code": cls.code, "detail": "x", "hint": "y", "retryable": True})
        assert type(found).code == cls.code
        assert (found.status, found.hint, found.retryable) == (cls.status, "y", True)
    assert issubclass(errors.HistoryExpired, errors.Gone)
    unknown = errors.error_of(418, {"code": "teapot", "detail": "x"})
    assert (type(unknown), unknown.code) == (errors.ApiError, "teapot")


def test_every_operation_answers_its_example_through_the_client(
    server: Served, registry: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: dict[str, Any] = {}
    last = ("sandboxes.terminate", "runs.finish", "api_keys.revoke")
    waiting = sorted((b for b in registry if b.path), key=lambda b: (b.name in last, b.name))
    with Thane(server.url, server.key) as thane:
        while waiting:
            ready = next(b for b in waiting if needed(registry, b) <= set(answers))
            waiting.remove(ready)
            answers[ready.name] = asked(thane, ready, answers)
    with capsys.disabled():
        print(f"\n{len(answers)} of {len(registry)} operations through the client, by their example")
    assert set(answers) == {b.name for b in registry if b.path}


def needed(registry: Operations, bound: Bound) -> set[str]:
    return {name for name in registry.before(bound.name) if registry.get(name).path}


def asked(thane: Thane, bound: Bound, answers: dict[str, Any]) -> Any:
    example = bound.declaration.example
    assert example is not None
    request = example_request(example.request, answers)
    if "limit" in request and bound.declaration.lists:
        request["page_size"] = request.pop("limit")
    resource, verb = resource_of(bound)
    found = getattr(getattr(thane, resource), verb)(**request)
    return write(found.page() if isinstance(found, Pages) else found)


def test_every_method_says_what_it_does() -> None:
    with Thane("http://127.0.0.1:1") as thane:
        methods = [
            method
            for resource in vars(thane).values()
            for name, method in inspect.getmembers(resource, inspect.ismethod)
            if type(resource).__module__.startswith("thane.client._sync.resources") and name[0] != "_"
        ]
    assert len(methods) >= 25
    assert [method.__qualname__ for method in methods if not inspect.getdoc(method)] == []


def test_importing_the_client_imports_little() -> None:
    program = (
        "import json, sys; before = set(sys.modules); import thane.client; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, timeout=60)
    loaded = set(json.loads(done.stdout))
    assert {name for name in loaded if name.startswith("thane.")} == {
        name for name in loaded if name == "thane.client" or name.startswith("thane.client.")
    }
    assert not loaded & {"msgspec", "asyncio", "ssl", "click", "http.client", "urllib.request", "email"}
    assert not [name for name in loaded if name.startswith("thane.client._async")]
