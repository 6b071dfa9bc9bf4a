"""Whatever is sent, the answer is a problem that says where it is wrong; the server stays as it was."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.http.test_access import assert_problem
from tests.support.program import Answer, Served

JSON = "application/json"
EMPTY_A = {"name": "a", "content": ""}


def sent(server: Served, body: bytes, path: str = "/api/v1/runs", kind: str | None = JSON) -> Answer:
    headers = {"Authorization": f"Bearer {server.key}"}
    if kind is not None:
        headers["Content-Type"] = kind
    return server.raw("POST", path, body, headers)


def heard(one: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    text = b""
    try:
        while part := one.recv(65536):
            text += part
    except ConnectionResetError:
        pass
    return text


@pytest.fixture(scope="module", autouse=True)
def unharmed(server: Served) -> Iterator[None]:
    """Nothing here may reach the log as a defect, and afterwards the server answers as before."""
    at = server.log.stat().st_size
    yield
    assert server.call("GET", "/me").status == 200
    assert b"request failed" not in server.log.read_bytes()[at:]


@pytest.fixture(scope="module")
def sandbox(server: Served) -> str:
    made: str = server.call("POST", "/sandboxes", {}).json["id"]
    return made


@pytest.mark.parametrize(
    ("body", "status", "code", "told"),
    [
        (b'{"purpose": "a",}', 400, "malformed", "byte 16"),
        (b"{", 400, "malformed", ""),
        (b"", 201, "", ""),
        (b"[]", 422, "invalid", "object"),
        (b"null", 422, "invalid", "object"),
        (b'"text"', 422, "invalid", "object"),
        (b'{"purpose": "\xff"}', 400, "malformed", ""),
        (b'\xff\xfe{\x00"', 400, "malformed", ""),
        (b'{"purpose": "\\ud800"}', 400, "malformed", ""),
        (b'{"purpose": "\\udc00\\ud800"}', 400, "malformed", ""),
        (b'{"purpose": 3}', 422, "invalid", "/purpose"),
        (b'{"purpsoe": "x"}', 422, "invalid", "did you mean `purpose`"),
        (b'{"purpose": "' + b"x" * 501 + b'"}', 422, "invalid", "/purpose"),
        (b"[" * 5000 + b"]" * 5000, 400, "malformed", ""),
        (b'{"purpose": ' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}", 400, "malformed", ""),
        (b'{"purpose": 1e999999}', 400, "malformed", ""),
        (b'{"purpose": "a\x00b"}', 400, "malformed", ""),
        (b'{"purpose": NaN}', 400, "malformed", ""),
        (b"purpose=a", 400, "malformed", ""),
    ],
)
def test_a_body_that_is_wrong_is_told_where(
    server: Served, body: bytes, status: int, code: str, told: str
) -> None:
    answer = sent(server, body)
    if status == 201:
        assert answer.status == 201, answer.body
        return
    assert answer.status in (400, 422), answer.body
    problem = assert_problem(answer, status, code)
    assert told in json.dumps(problem), problem


def test_a_nul_in_text_is_kept_or_refused_but_never_lost(server: Served) -> None:
    answer = sent(server, b'{"purpose": "a\\u0000b"}')
    if answer.status == 201:
        read = server.call("GET", f"/runs/{answer.json['id']}").json
        assert read["purpose"] == "a\0b"
    else:
        assert_problem(answer, 422, "invalid")


def test_text_of_every_alphabet_comes_back_as_it_was(server: Served) -> None:
    purpose = '数据 🚀 \u202e עברית \\ " \n e\u0301 \U0010ffff'
    made = server.call("POST", "/runs", {"purpose": purpose}).json
    assert server.call("GET", f"/runs/{made['id']}").json["purpose"] == purpose


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: Served) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as one:
        one.sendall(
            b"POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer " + server.key.encode() + b"\r\ncontent-length: 99999999\r\n\r\n"
        )
        text = heard(one)
    assert text.startswith(b"HTTP/1.1 413")
    assert b'"too_large"' in text
    assert b"http.max_body_bytes" in text


def test_a_body_in_chunks_over_the_limit_is_refused_too(server: Served) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as one:
        one.sendall(
            b"POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer " + server.key.encode() + b"\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(40):
                one.sendall(chunk)
        except OSError:
            pass  # it has hung up already
        text = heard(one)
    # Whoever sends on against a closed door may lose the answer, never the hang-up.
    assert text == b"" or text.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", None, "application/json; charset=latin-1"]
)
def test_another_content_type_is_refused(server: Served, kind: str | None) -> None:
    assert_problem(sent(server, b"{}", kind=kind), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "limits",
    [
        {"max_memory_mb": 0},
        {"max_memory_mb": -1},
        {"max_memory_mb": 10**9},
        {"max_memory_mb": 10**30},
        {"max_cpu_cores": 0},
        {"max_cpu_cores": "NaN"},
        {"max_cpu_cores": "Infinity"},
        {"max_cpu_cores": "-Infinity"},
        {"max_cpu_cores": "1e400"},
        {"max_cpu_cores": 4096},
        {"max_disk_mb": 0},
        {"max_disk_mb": 10**9},
        {"max_execution_time_sec": 0},
        {"max_execution_time_sec": 10**9},
        {"max_execution_time_sec": 1.5},
        {"max_memory": 100},
    ],
)
def test_limits_out_of_range_are_told_with_what_is_allowed(
    server: Served, sandbox: str, limits: dict[str, Any]
) -> None:
    for path, body in (
        ("/sandboxes", {"resource_limits": limits}),
        (f"/sandboxes/{sandbox}/executions", {"code": "1", "resource_limits": limits}),
    ):
        answer = server.call("POST", path, body)
        assert answer.status == 422, (limits, answer.body)
        problem = answer.json
        assert problem["code"] in ("limits_out_of_range", "invalid")
        assert problem["errors"][0]["pointer"].startswith("/resource_limits/"), problem


@pytest.mark.parametrize("name", ["a/b", "", "x" * 101, "a\nb", "\x00", "../up", "/"])
def test_a_name_with_a_slash_or_none_is_refused(server: Served, name: str) -> None:
    problem = assert_problem(server.call("POST", "/sandboxes", {"name": name}), 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/name"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"code": ""}, "/code"),
        ({"code": " \n\t"}, "/code"),
        ({"code": "print(1)\0"}, "/code"),
        ({}, "/code"),
        ({"code": 1}, "/code"),
        ({"code": "1", "language": "cobol"}, "/language"),
        ({"code": "1", "env": {"A=B": "x"}}, "/env/A=B"),
        ({"code": "1", "env": {"": "x"}}, "/env/"),
        ({"code": "1", "env": {"A": "x\0y"}}, "/env/A"),
        ({"code": "1", "env": {"A": 1}}, "/env"),
        ({"code": "1", "files": [{"name": "../x", "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "/etc/x", "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "a\0b", "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "", "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "x" * 256, "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "\u00e9" * 128, "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "a/" * 512 + "a", "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "a\nb", "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "a\\b", "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": ".", "content": ""}]}, "/files/0/name"),
        ({"code": "1", "files": [{"name": "a", "content": "no base64!"}]}, "/files/0/content"),
        (
            {"code": "1", "files": [{"name": "a", "content": ""}, {"name": "a", "content": ""}]},
            "/files/1/name",
        ),
        (
            {"code": "1", "files": [{"name": "a", "content": ""}, {"name": "a/b", "content": ""}]},
            "/files/1/name",
        ),
        ({"code": "1", "stdin": "no base64!"}, "/stdin"),
        ({"code": "1", "timeout": 5}, "/timeout"),
    ],
)
def test_an_execution_that_cannot_be_had_is_told_where(
    server: Served, sandbox: str, body: dict[str, Any], pointer: str
) -> None:
    answer = server.call("POST", f"/sandboxes/{sandbox}/executions", body)
    problem = assert_problem(answer, 422, "invalid")
    assert problem["errors"][0]["pointer"].startswith(pointer), problem


@pytest.mark.parametrize(
    "id_",
    [
        "x",
        "sbx_",
        "sbx_zz",
        "%00",
        "%2e%2e%2fkeys",
        "exe_01890000000070008000000000000001",
        "%ff",
        "a" * 3000,
    ],
)
def test_an_id_that_is_none_is_not_found(server: Served, id_: str) -> None:
    answer = server.call("GET", f"/sandboxes/{id_}")
    assert answer.status in (404, 422), answer.body
    assert answer.json["hint"]


@pytest.mark.parametrize("number", [10**18, 2**63, 10**30])
def test_an_index_beyond_every_log_is_refused(server: Served, number: int) -> None:
    for path in (f"entries/{number}", f"entries/{number}/proof", f"entries?start={number}"):
        assert_problem(server.call("GET", f"/ledger/{path}"), 422, "invalid")


@pytest.mark.parametrize(
    "run", ["x", "run_01890000000070008000000000000001", "sbx_01890000000070008000000000000001"]
)
def test_a_run_that_is_none_is_refused(server: Served, sandbox: str, run: str) -> None:
    answer = server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": "1"}, Thane_Run=run)
    assert answer.status in (404, 422), answer.body


def test_nothing_runs_in_a_finished_run_or_a_terminated_sandbox(server: Served, sandbox: str) -> None:
    run = server.call("POST", "/runs", {}).json["id"]
    assert server.call("POST", f"/runs/{run}/finish", {"outcome": "done"}).status == 200
    path = f"/sandboxes/{sandbox}/executions"
    assert_problem(server.call("POST", path, {"code": "1"}, Thane_Run=run), 409, "run_finished")
    assert_problem(server.call("POST", f"/runs/{run}/finish", {}), 409, "run_finished")
    ended = server.call("POST", "/sandboxes", {}).json["id"]
    assert server.call("POST", f"/sandboxes/{ended}/terminate", {}).json["status"] == "terminated"
    refused = server.call("POST", f"/sandboxes/{ended}/executions", {"code": "1"})
    assert_problem(refused, 409, "sandbox_terminated")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/v1/me HTTP/9.9\r\nhost: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_hung_up_on_or_refused(server: Served, head: bytes) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as one:
        one.sendall(head)
        one.shutdown(socket.SHUT_WR)
        text = heard(one)
    assert text == b"" or text.split(b" ")[1][:1] == b"4", text
