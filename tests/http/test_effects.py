"""Executions over the wire: streams, hang-ups, what is recorded; and a part that is down."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.http.test_access import assert_problem
from tests.support.program import Served, eventually


@pytest.fixture(scope="module")
def sandbox(server: Served) -> str:
    made: str = server.call("POST", "/sandboxes", {}).json["id"]
    return made


def events_of(text: str) -> list[tuple[str, Any]]:
    """The events of an SSE body."""
    found = []
    for frame in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.splitlines() if ": " in line and line[0] != ":")
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def execution(server: Served, sandbox: str, code: str) -> Any:
    return server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": code})


def open_stream(server: Served, sandbox: str, code: str, **headers: str) -> socket.socket:
    """An execution asked for as a stream, on a connection of its own."""
    body = json.dumps({"code": code}).encode()
    one = socket.create_connection((server.host, server.port), timeout=30)
    lines = [
        f"POST /api/v1/sandboxes/{sandbox}/executions HTTP/1.1",
        "host: x",
        "connection: close",
        f"authorization: Bearer {server.key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    one.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return one


def until(one: socket.socket, word: bytes) -> bytes:
    text = b""
    while word not in text:
        part = one.recv(65536)
        assert part, text
        text += part
    return text


def newest(server: Served, sandbox: str) -> dict[str, Any] | None:
    where = quote(f'sandbox_id = "{sandbox}"')
    items = server.call("GET", f"/executions?limit=1&filter={where}").json["items"]
    return items[0] if items else None


def status_of(server: Served, sandbox: str, code: str) -> str | None:
    """The status of the newest execution, if it is of this code."""
    found = newest(server, sandbox)
    return str(found["status"]) if found is not None and found["code"] == code else None


def test_a_stream_brings_output_as_it_comes_and_then_the_result(server: Served, sandbox: str) -> None:
    code = "import sys, time\nprint('first', flush=True)\ntime.sleep(1)\nsys.stderr.write('second')"
    with open_stream(server, sandbox, code, Accept="text/event-stream") as one:
        text = until(one, b"event: output")
        found = newest(server, sandbox)
        assert found is not None
        assert found["status"] == "running"
        while part := one.recv(65536):
            text += part
    assert b"content-type: text/event-stream" in text.lower()
    stripped = b"\r\n".join(line for line in text.split(b"\r\n"))
    events = events_of(stripped.decode().replace("\r\n", "\n"))
    output = [e for name, e in events if name == "output"]
    for stream, whole in (("stdout", b"first\n"), ("stderr", b"second")):
        assert b"".join(base64.b64decode(e["data"]) for e in output if e["stream"] == stream) == whole
    assert [e["seq"] for e in output] == list(range(len(output)))
    assert output[-1]["stream"] == "stderr"
    name, result = events[-1]
    assert (name, result["status"], result["output"]["stdout"]) == ("result", "completed", "first\n")
    assert result["ledger"]["index"] > result["ledger"]["intent_index"]


def test_what_is_refused_before_it_acts_is_an_ordinary_problem(server: Served, sandbox: str) -> None:
    answer = server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": ""}, Accept="text/event-stream")
    assert_problem(answer, 422, "invalid")


def written(server: Served, where: str) -> bytes:
    """What a program has written so far."""
    chunks = server.call("GET", f"{where}?limit=100").json["items"]
    return b"".join(base64.b64decode(chunk["data"]) for chunk in chunks)


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
def test_hanging_up_cancels_the_program_and_that_is_recorded(
    server: Served, sandbox: str, accept: str
) -> None:
    code = f"import time\nprint('on', flush=True)\ntime.sleep(60)  # {uuid.uuid4().hex}"
    with open_stream(server, sandbox, code, Accept=accept):
        found = eventually(lambda: (f := newest(server, sandbox)) and f["code"] == code and f, "a record")
        where = f"/executions/{found['id']}/output"
        eventually(lambda: written(server, where) == b"on\n", "its output")
    ended = eventually(
        lambda: (f := newest(server, sandbox)) and f["status"] not in ("queued", "running") and f, "its end"
    )
    assert (ended["status"], ended["error"]["error_type"]) == ("cancelled", "Cancelled")
    # What it used until then is billed: hanging up does not make it free.
    assert Decimal(ended["billing_info"]["cost_usd"]) > 0
    assert ended["duration_ms"] > 0
    assert ended["isolation"]["tier"] != "T0"
    assert ended["output"]["stdout"] == "on\n"


def test_with_a_key_a_program_outlives_its_connection_and_can_be_attached_to(
    server: Served, sandbox: str
) -> None:
    key = uuid.uuid4().hex
    code = "import time\nprint('on', flush=True)\ntime.sleep(1.5)\nprint('end')"
    with open_stream(server, sandbox, code, Accept="text/event-stream", Idempotency_Key=key) as one:
        until(one, b"event: output")
    with open_stream(server, sandbox, code, Accept="text/event-stream", Idempotency_Key=key) as two:
        text = until(two, b"event: result").decode()
    assert "completed" in text
    found = newest(server, sandbox)
    assert found is not None
    assert (found["status"], found["output"]["stdout"]) == ("completed", "on\nend\n")


def test_an_execution_is_recorded_with_its_output_use_and_files(server: Served, sandbox: str) -> None:
    done = execution(server, sandbox, "open('r.txt', 'w').write('kept'); print('x' * 100_000)")
    assert done.status == 201
    assert done.headers["thane-ledger-index"] == str(done.json["ledger"]["index"])
    assert done.headers["thane-intent-index"] == str(done.json["ledger"]["intent_index"])
    assert done.headers["location"] == f"/api/v1/executions/{done.json['id']}"
    where = f"/executions/{done.json['id']}"
    row = server.call("GET", where).json
    assert row["output"] == done.json["output"]
    chunks = server.call("GET", f"{where}/output?limit=100").json["items"]
    assert written(server, f"{where}/output") == b"x" * 100_000 + b"\n"
    assert [c["seq"] for c in chunks] == list(range(len(chunks)))
    assert server.call("GET", f"{where}/metrics").json["items"]
    content = server.call("GET", f"{where}/file?name=r.txt").json
    assert base64.b64decode(content["content"]) == b"kept"
    for name in ("none.txt", "../store.db", "/etc/passwd", "%00", "."):
        assert_problem(server.call("GET", f"{where}/file?name={name}"), 404, "file_not_produced")
    index = done.json["ledger"]["index"]
    entry = server.call("GET", f"/ledger/entries/{index}").json
    assert (entry["leaf"]["kind"], entry["leaf_hash"]) == ("outcome", done.json["ledger"]["leaf_hash"])


def test_what_is_billed_equals_the_month(server: Served, sandbox: str) -> None:
    execution(server, sandbox, "pass")
    events: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = server.call("GET", f"/billing/events?limit=200{cursor}").json
        events += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={quote(page['next_cursor'])}"
    months = server.call("GET", "/usage").json["items"]
    assert sum(Decimal(e["amount"]) for e in events) == sum(Decimal(m["total_cost"]) for m in months)
    assert len([e for e in events if e["execution_id"]]) == sum(m["total_executions"] for m in months)


def test_health_says_which_part_is_down(tmp_path: Path) -> None:
    server = Served(tmp_path / "data")
    try:
        assert server.raw("GET", "/health").status == 200
        store = server.data / "store.db"
        content = store.read_bytes()
        assert content[:15] == b"SQLite format 3"
        # A folder in the place of the isolation program's socket: it can neither be reached nor started.
        socket_file = server.data / "isolation.sock"
        for pid in _isolation_programs(server.data):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not _isolation_programs(server.data), "the isolation program's end")
        socket_file.unlink(missing_ok=True)
        socket_file.mkdir()
        answer = eventually(lambda: (a := server.raw("GET", "/health")).status == 503 and a, "503")
        assert answer.json["status"] == "down"
        assert answer.json["down"] == ["isolation"]
        assert answer.json["parts"]["store"] == {"status": "ok"}
        socket_file.rmdir()
        assert eventually(lambda: server.raw("GET", "/health").status == 200, "health again")
    finally:
        server.stop()


def _isolation_programs(data: Path) -> list[int]:
    """The isolation programs that serve this folder's socket."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"thane.isolation" in line and str(data).encode() in line:
                found.append(int(entry.name))
    return found
