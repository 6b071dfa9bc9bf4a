"""How executions end: each way told apart over the wire, with what to change."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.program import Served

ENDS: list[tuple[str, str, dict[str, Any], str, str | None, str]] = [
    ("completed", "print(1)", {}, "completed", None, ""),
    ("an exit code", "raise SystemExit(3)", {}, "failed", "ExitCode", "code 3"),
    ("an exception", "1 / 0", {}, "failed", "ZeroDivisionError", "division by zero"),
    ("a signal", "import os; os.kill(os.getpid(), 15)", {}, "failed", "Signal", "SIGTERM"),
    ("time", "while True: pass", {"max_execution_time_sec": 1}, "timeout", "Timeout", "raise"),
    ("memory", "x = bytearray(400 << 20)", {"max_memory_mb": 64}, "failed", "OutOfMemory", "raise"),
    ("killed", "import os; os.kill(os.getpid(), 9)", {}, "failed", "HostKilled", "SIGKILL"),
]


@pytest.fixture(scope="module")
def sandbox(server: Served) -> str:
    made: str = server.call("POST", "/sandboxes", {}).json["id"]
    return made


def run(server: Served, sandbox: str, code: str, **more: Any) -> Any:
    answer = server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": code, **more})
    assert answer.status == 201, answer.body
    return answer.json


@pytest.mark.parametrize(
    ("code", "limits", "status", "kind", "words"), [e[1:] for e in ENDS], ids=[e[0] for e in ENDS]
)
def test_each_end_is_told_apart(
    server: Served, sandbox: str, code: str, limits: dict[str, Any], status: str, kind: str | None, words: str
) -> None:
    done = run(server, sandbox, "print('before', flush=True)\n" + code, resource_limits=limits)
    assert done["status"] == status, done
    error = done["error"] or {"error_type": None, "message": ""}
    assert error["error_type"] == kind
    assert words in error["message"]
    assert done["output"]["stdout"].startswith("before\n"), "what was printed is kept"
    assert (done["output"]["return_code"] == 0) is (status == "completed")
    row = server.call("GET", f"/executions/{done['id']}").json
    assert (row["status"], row["error"]) == (done["status"], done["error"])


def test_a_time_out_and_too_much_memory_say_which_field_to_change(server: Served, sandbox: str) -> None:
    late = run(server, sandbox, "while True: pass", resource_limits={"max_execution_time_sec": 1})
    assert "max_execution_time_sec" in late["error"]["message"]
    full = run(server, sandbox, "x = bytearray(400 << 20)", resource_limits={"max_memory_mb": 64})
    assert "max_memory_mb" in full["error"]["message"]
    disk = run(server, sandbox, "open('x', 'wb').write(bytes(9 << 20))", resource_limits={"max_disk_mb": 1})
    assert (disk["status"], disk["error"]["error_type"]) == ("failed", "OSError")


def test_output_beyond_its_limit_ends_with_a_marker(server: Served, sandbox: str) -> None:
    done = run(server, sandbox, "print('x' * (3 << 20)); import sys; print('end', file=sys.stderr)")
    assert done["status"] == "completed"
    text = done["output"]["stdout"]
    assert text.endswith("\n[output limit of 1048576 bytes reached; the rest was dropped]\n")
    assert len(text) < (1 << 20) + 100
    assert done["output"]["stderr"] == "end\n"


def test_binary_output_survives(server: Served, sandbox: str) -> None:
    done = run(server, sandbox, "import sys; sys.stdout.buffer.write(bytes(range(256)) * 10)")
    items = server.call("GET", f"/executions/{done['id']}/output?limit=100").json["items"]
    assert b"".join(base64.b64decode(c["data"]) for c in items) == bytes(range(256)) * 10
    assert "\ufffd" in done["output"]["stdout"]
