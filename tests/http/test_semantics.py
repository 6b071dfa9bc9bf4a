"""ETags, idempotency, paging, filters, sorting, fields, and the pages beside the API."""

from __future__ import annotations

import re
import threading
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from tests.http.test_access import assert_problem
from tests.support.program import Served, eventually


def test_an_etag_saves_a_read_and_guards_a_change(server: Served) -> None:
    made = server.call("POST", "/sandboxes", {"name": "tagged"})
    assert made.headers["location"] == f"/api/v1/sandboxes/{made.json['id']}"
    path = f"/sandboxes/{made.json['id']}"
    read = server.call("GET", path)
    assert read.headers["etag"] == made.headers["etag"] == '"1"'
    same = server.call("GET", path, If_None_Match='"1"')
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", '"1"')
    assert server.call("GET", path, If_None_Match='W/"1", "7"').status == 304
    assert server.call("GET", path, If_None_Match='"2"').status == 200
    refused = server.call("POST", f"{path}/terminate", {}, If_Match='"2"')
    assert assert_problem(refused, 412, "precondition_failed")["version"] == 1
    assert server.call("GET", path).json["status"] == "created"
    assert_problem(
        server.call("POST", f"{path}/terminate", {}, If_Match="nonsense"), 412, "precondition_failed"
    )
    done = server.call("POST", f"{path}/terminate", {}, If_Match='"1"')
    assert (done.status, done.headers["etag"]) == (200, '"2"')
    assert server.call("GET", path, If_None_Match='"1"').status == 200


def test_a_repeated_request_with_a_key_has_one_effect(server: Served) -> None:
    key = uuid.uuid4().hex
    first = server.call("POST", "/runs", {"purpose": "once"}, Idempotency_Key=key)
    again = server.call("POST", "/runs", {"purpose": "once"}, Idempotency_Key=key)
    assert (again.status, again.json) == (201, first.json)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["thane-ledger-index"] == first.headers["thane-ledger-index"]
    other = server.call("POST", "/runs", {"purpose": "twice"}, Idempotency_Key=key)
    assert_problem(other, 409, "idempotency_reused")
    page = server.call("GET", "/runs?filter=" + quote('purpose = "once"')).json
    assert len(page["items"]) == 1
    for odd in ("", "x" * 256, "sch\xf6n"):
        answer = server.call("POST", "/runs", {}, Idempotency_Key=odd)
        assert answer.status in ((422,) if odd else (201,)), answer.body


def test_a_secret_is_not_shown_again_by_a_replay(server: Served) -> None:
    key = uuid.uuid4().hex
    first = server.call("POST", "/keys", {"name": "once"}, Idempotency_Key=key)
    again = server.call("POST", "/keys", {"name": "once"}, Idempotency_Key=key)
    assert (again.status, again.json["id"]) == (201, first.json["id"])
    assert "key" not in again.json
    assert again.json["secret_shown"] is True


def test_an_execution_at_work_answers_in_progress_and_runs_once(server: Served) -> None:
    sandbox = server.call("POST", "/sandboxes", {}).json["id"]
    path, key = f"/sandboxes/{sandbox}/executions", uuid.uuid4().hex
    body = {"code": "import time; time.sleep(1.5); print('once')"}
    answers: list[Any] = []
    worker = threading.Thread(
        target=lambda: answers.append(server.call("POST", path, body, Idempotency_Key=key))
    )
    worker.start()
    try:
        mine = "/executions?filter=" + quote(f'sandbox_id = "{sandbox}"')
        running = eventually(lambda: server.call("GET", mine).json["items"], "a start")
        busy = server.call("POST", path, body, Idempotency_Key=key)
        problem = assert_problem(busy, 409, "in_progress")
        assert busy.headers["retry-after"] == "1"
        assert problem["location"].endswith(f"/executions/{running[0]['id']}")
    finally:
        worker.join(30)
    settled = server.call("POST", path, body, Idempotency_Key=key)
    assert settled.json == answers[0].json
    assert settled.json["output"]["stdout"] == "once\n"
    assert len(server.call("GET", mine).json["items"]) == 1


def test_pages_have_no_gap_and_no_repeat_while_rows_come(server: Served) -> None:
    mark = uuid.uuid4().hex[:8]
    wanted = [server.call("POST", "/runs", {"purpose": f"{mark} {n:02}"}).json["id"] for n in range(11)]
    filter_ = quote(f'purpose ~ "{mark}"')
    for sort in ("", "created_at", "-purpose", "status,-purpose"):
        seen: list[str] = []
        cursor: str | None = None
        while True:
            where = f"/runs?limit=3&filter={filter_}&sort={sort}" + (
                f"&cursor={quote(cursor)}" if cursor else ""
            )
            page = server.call("GET", where).json
            seen += [row["id"] for row in page["items"]]
            assert len(page["items"]) <= 3
            cursor = page["next_cursor"]
            if cursor is None:
                break
            server.call("POST", "/runs", {"purpose": "meanwhile"})
        assert sorted(seen) == sorted(wanted), sort
        assert len(set(seen)) == len(seen)
        if sort == "-purpose":
            assert seen == wanted[::-1]
    page = server.call("GET", f"/runs?limit=2&total=true&filter={filter_}").json
    assert page["total"] == 11
    other = server.call("GET", f"/runs?limit=3&sort=purpose&cursor={quote(page['next_cursor'])}")
    assert_problem(other, 422, "invalid")
    assert_problem(server.call("GET", "/runs?cursor=nonsense"), 422, "invalid")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("filter=" + quote('purpse = "x"'), "did you mean"),
        ("filter=" + quote("status ="), "filter"),
        ("filter=" + quote('status = "open"; drop table runs'), "filter"),
        ("filter=" + quote("(" * 200), "filter"),
        ("filter=" + quote("created_at > 3"), "created_at"),
        ("sort=nothing", "nothing"),
        ("limit=0", "limit"),
        ("limit=100000", "limit"),
        ("limit=ten", "limit"),
        ("total=perhaps", "total"),
        ("nonsense=1", "nonsense"),
        ("limit=1&limit=2", "limit"),
        ("fields=nothing", "nothing"),
        ("limit", "query"),
        ("filter=%ff", "query"),
    ],
)
def test_a_wrong_query_is_told_where(server: Served, query: str, told: str) -> None:
    problem = assert_problem(server.call("GET", f"/runs?{query}"), 422, "invalid")
    assert told in str(problem), problem
    assert problem["errors"]


def test_only_the_fields_that_were_asked_for_are_shown(server: Served) -> None:
    sandbox = server.call("POST", "/sandboxes", {"resource_limits": {"max_memory_mb": 99}}).json["id"]
    shown = server.call("GET", f"/sandboxes/{sandbox}?fields=id,resource_limits.max_memory_mb").json
    assert shown == {"id": sandbox, "resource_limits": {"max_memory_mb": 99}}
    page = server.call("GET", "/sandboxes?limit=2&fields=id").json
    assert all(set(row) == {"id"} for row in page["items"])


def test_filters_reach_into_objects_and_find_text(server: Served) -> None:
    sandbox = server.call("POST", "/sandboxes", {"metadata": {"team": ["red", "blue"]}}).json["id"]
    server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": "print('quokka wombat')"})
    found = server.call("GET", "/sandboxes?filter=" + quote('metadata.team ~ "red"')).json["items"]
    assert sandbox in [row["id"] for row in found]
    hits = server.call("GET", f"/executions?search={quote('quokkas wombat')}").json["items"]
    assert [row["sandbox_id"] for row in hits] == [sandbox]
    assert server.call("GET", f"/executions?search={quote('quokka -wombat')}").json["items"] == []


def test_the_metrics_have_the_names_that_were_promised(server: Served) -> None:
    answer = server.raw("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    for name in ("db_query_total", "db_query_duration_seconds", "cache_hit_total", "cache_miss_total"):
        assert re.search(rf"^# TYPE {name} ", text, re.MULTILINE), name
    assert re.search(r'^db_query_total\{.*table="runs".*\} [1-9]', text, re.MULTILINE)
    assert re.search(r"^cache_hit_total\{.*\} [1-9]", text, re.MULTILINE)


def test_health_names_its_parts(server: Served) -> None:
    answer = server.raw("GET", "/health")
    assert (answer.status, answer.json["status"]) == (200, "ok")
    assert set(answer.json["parts"]) >= {"store", "isolation"}


def test_a_path_and_a_method_that_are_not_there_are_told(server: Served) -> None:
    assert_problem(server.call("GET", "/nowhere"), 404, "not_found")
    assert_problem(server.raw("GET", "/"), 404, "not_found")
    answer = server.call("DELETE", "/runs")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert_problem(server.raw("POST", "/health"), 405, "method_not_allowed")
    assert server.raw("OPTIONS", "/api/v1/runs").headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_head_is_a_get_without_its_body(server: Served) -> None:
    answer = server.call("HEAD", "/runs?limit=1")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
