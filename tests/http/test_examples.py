"""Every operation of the registry answers to its own example, as OpenAPI says it does."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.http.openapi_check import faults
from tests.support.program import Answer, Served
from thane.__main__ import _Lazy
from thane.kernel.operations.registry import Bound, Operations, example_request


@pytest.fixture(scope="module")
def operations() -> Operations:
    program: Any = _Lazy()
    found: Operations = program.operations()
    return found


@pytest.fixture(scope="module")
def document(server: Served) -> dict[str, Any]:
    answer = server.call("GET", "/openapi.json")
    found: dict[str, Any] = answer.json
    assert answer.status == 200
    return found


def asked(server: Served, bound: Bound, request: dict[str, Any]) -> Answer:
    """The request of an example on the wire."""
    rest = dict(request)
    path = bound.path
    for name in bound.path_params:
        path = path.replace(f"{{{name}}}", quote(str(rest.pop(name)), safe=""))
    content = rest.pop(bound.takes, None)
    if bound.has_body and not bound.takes:
        return server.call(bound.method, path, rest)
    query = {k: str(v).lower() if isinstance(v, bool) else v for k, v in rest.items()}
    where = path + (f"?{urlencode(query)}" if query else "")
    if bound.takes:
        given = {"Authorization": f"Bearer {server.key}"}
        return server.raw(bound.method, f"/api/v1{where}", base64.b64decode(content), given)
    return server.call(bound.method, where)


def test_every_operation_answers_its_example_as_openapi_says(
    server: Served, operations: Operations, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answers: dict[str, Any] = {}
    wrong: list[str] = []
    waiting = [bound for bound in operations if bound.path]
    internal = [bound.name for bound in operations if not bound.path]

    def needs(bound: Bound) -> set[str]:
        example = bound.declaration.example
        assert example is not None
        text = json.dumps(dict(example.request))
        return {o.name for o in operations if f'"${o.name}' in text} | set(example.before)

    # What ends something comes last, so that nobody else's example finds it ended.
    waiting.sort(key=lambda b: b.name in ("sandboxes.terminate", "runs.finish", "api_keys.revoke"))
    while waiting:
        ready = next((b for b in waiting if needs(b) <= set(answers)), None)
        assert ready is not None, [b.name for b in waiting]
        waiting.remove(ready)
        example = ready.declaration.example
        assert example is not None
        answer = asked(server, ready, example_request(example.request, answers))
        if ready.streams and answer.status == ready.status:
            answers[ready.name] = {}
            wrong += stream_faults(ready, answer, document)
            continue
        answers[ready.name] = answer.json if answer.body and not ready.gives else {}
        if answer.status != ready.status:
            wrong.append(f"{ready.name}: {answer.status} {answer.body!r}")
            continue
        described = document["paths"][f"/api/v1{ready.path}"][ready.method.lower()]
        content = described["responses"][str(ready.status)]["content"]
        if ready.gives:
            assert list(content) == [answer.headers["content-type"]]
            continue
        schema = content["application/json"]["schema"]
        wrong += [f"{ready.name}: {fault}" for fault in faults(schema, answer.json, document)]
    with capsys.disabled():
        print(f"\n{len(answers)} of {len(operations)} operations by their example; internal: {internal}")
    assert not wrong, "\n".join(wrong)
    assert set(answers) | set(internal) == {o.name for o in operations}


def stream_faults(bound: Bound, answer: Answer, document: dict[str, Any]) -> list[str]:
    """What of a stream's events is not as OpenAPI says."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    described = document["paths"][f"/api/v1{bound.path}"]["get"]["responses"]["200"]["content"]
    events = described["text/event-stream"]["x-thane-events"]
    assert set(events) == {kind.__name__ for kind in bound.streams}
    told = [dict(line.split(": ", 1) for line in block.split("\n")) for block in
            answer.body.decode().strip().split("\n\n")]  # fmt: skip
    assert [t["event"] for t in told][:: len(told) - 1] == ["ready", "end"]
    assert len(told) > 2
    kinds = {"ready": "Ready", "end": "End", "create": "Row"}
    return [
        f"{bound.name}: {fault}"
        for t in told
        for fault in faults(events[kinds[t["event"]]], json.loads(t["data"]), document)
    ]


def test_openapi_names_every_path_and_nothing_dangles(
    operations: Operations, document: dict[str, Any]
) -> None:
    assert document["openapi"].startswith("3.1")
    described = {o["operationId"] for path in document["paths"].values() for o in path.values()}
    assert described == {o.name for o in operations if o.path}
    text = json.dumps(document)
    known = document["components"]["schemas"]
    used = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert used <= set(known)


def test_the_check_of_answers_sees_what_is_wrong(document: dict[str, Any]) -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    assert faults(schema, {"a": 1}, document) == []
    assert faults(schema, {}, document)
    assert faults(schema, {"a": True}, document)
    assert faults({"anyOf": [{"type": "null"}, {"type": "string"}]}, 3, document)


def test_money_is_plain_text_never_with_an_exponent(server: Served) -> None:
    server.call("POST", "/runs", {"purpose": "money"})
    sandbox = server.call("POST", "/sandboxes", {"language": "python"}).json["id"]
    done = server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": "pass"})
    told = [done, server.call("GET", "/billing/events"), server.call("GET", "/usage")]
    told += [server.call("GET", "/executions"), server.call("GET", f"/sandboxes/{sandbox}/resource-summary")]

    def amounts(value: Any, name: str = "") -> list[str]:
        if isinstance(value, dict):
            return [a for k, v in value.items() for a in amounts(v, k)]
        if isinstance(value, list):
            return [a for v in value for a in amounts(v, name)]
        money = ("cost", "amount", "units", "cpu", "memory", "total_cost", "sandboxes.execute")
        return [value] if isinstance(value, str) and any(m in name for m in money) else []

    found = [a for answer in told for a in amounts(answer.json)]
    assert len(found) > 5
    assert not [a for a in found if "e" in a.lower() and a.replace(".", "").replace("-", "")[:1].isdigit()]
    assert done.json["billing_info"]["cost_usd"].startswith("0.000000")
