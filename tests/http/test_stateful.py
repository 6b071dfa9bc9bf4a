"""Stateful sandboxes over the wire: contexts, what is told when state is gone, and files."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.http.test_access import assert_problem
from tests.http.test_effects import _isolation_programs
from tests.support.needs import require
from tests.support.program import Answer, Served, eventually

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def walls(server: Served) -> None:
    done = server.call("POST", f"/sandboxes/{made(server)}/executions", {"code": "pass"}).json
    tier = done["isolation"]["tier"]
    require(tier in ("T2", "T2-"), "a tier with stateful sandboxes", get="thane doctor")


def made(server: Served, **more: Any) -> str:
    found: str = server.call("POST", "/sandboxes", more).json["id"]
    return found


@pytest.fixture
def sandbox(server: Served) -> Iterator[str]:
    found = made(server)
    yield found
    if server.call("GET", f"/sandboxes/{found}").json["status"] != "terminated":
        server.call("POST", f"/sandboxes/{found}/terminate", {})


def cell(server: Served, sandbox: str, code: str, context: str | None = "a", **more: Any) -> Any:
    body = {"code": code, "context": context, **more}
    answer = server.call("POST", f"/sandboxes/{sandbox}/executions", body)
    assert answer.status == 201, answer.body
    return answer.json


def stdout(server: Served, sandbox: str, code: str, context: str | None = "a", **more: Any) -> str:
    done = cell(server, sandbox, code, context, **more)
    assert done["status"] == "completed", done
    text: str = done["output"]["stdout"]
    return text


def put(server: Served, sandbox: str, name: str, content: bytes) -> Answer:
    given = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/octet-stream"}
    where = f"/api/v1/sandboxes/{sandbox}/files?name={quote(name, safe='')}"
    return server.raw("POST", where, content, given)


def get(server: Served, sandbox: str, name: str) -> Answer:
    return server.call("GET", f"/sandboxes/{sandbox}/file?name={quote(name, safe='')}")


def contexts(server: Served, sandbox: str) -> dict[str, tuple[str, int]]:
    items = server.call("GET", f"/sandboxes/{sandbox}/contexts").json["items"]
    return {c["name"]: (c["status"], c["executions"]) for c in items}


def test_variables_survive_in_a_context_and_nowhere_else(server: Served, sandbox: str) -> None:
    cell(server, sandbox, "x = 41")
    assert stdout(server, sandbox, "x += 1; print(x)") == "42\n"
    assert stdout(server, sandbox, "print('x' in globals())", "b") == "False\n"
    assert stdout(server, sandbox, "print('x' in globals())", None) == "False\n"
    assert contexts(server, sandbox) == {"a": ("live", 2), "b": ("live", 1)}
    done = cell(server, sandbox, "print(x)")
    row = server.call("GET", f"/executions/{done['id']}").json
    assert (row["context"], row["output"]["stdout"]) == ("a", "42\n")


def test_shell_commands_run_beside_python_and_files_stay(server: Served, sandbox: str) -> None:
    cell(server, sandbox, "open('n.txt', 'w').write('seven')")
    assert stdout(server, sandbox, "cat n.txt; echo more >> n.txt", language="shell") == "seven"
    assert stdout(server, sandbox, "print(open('n.txt').read())") == "sevenmore\n\n"


def test_contexts_are_created_restarted_and_removed(server: Served, sandbox: str) -> None:
    where = f"/sandboxes/{sandbox}/contexts"
    created = server.call("POST", where, {"name": "work"})
    assert (created.status, created.json["status"]) == (201, "created")
    assert_problem(server.call("POST", where, {"name": "work"}), 409, "context_exists")
    assert server.call("POST", where, {}).json["name"] == "context-1"
    assert_problem(server.call("POST", where, {"name": "../x"}), 422, "invalid")
    cell(server, sandbox, "x = 1", "work")
    assert contexts(server, sandbox) == {"work": ("live", 1), "context-1": ("created", 0)}
    restarted = server.call("POST", f"{where}/work/restart", {})
    assert (restarted.status, restarted.json["was_alive"]) == (200, True)
    assert contexts(server, sandbox)["work"] == ("created", 0)
    assert stdout(server, sandbox, "print('x' in globals())", "work") == "False\n"
    removed = server.call("POST", f"{where}/work/remove", {}).json
    assert (removed["was_alive"], removed["failed"], removed["outcome"]) == (True, None, "done")
    assert removed["ledger"]["index"] > removed["ledger"]["intent_index"]
    assert contexts(server, sandbox) == {"context-1": ("created", 0)}
    assert_problem(server.call("POST", f"{where}/work/remove", {}), 404, "context_not_found")
    for n in range(31):
        assert server.call("POST", where, {"name": f"n{n}"}).status == 201
    assert_problem(server.call("POST", where, {}), 409, "illegal_state")


def test_only_its_time_is_an_executions_own_in_a_context(server: Served, sandbox: str) -> None:
    body = {"code": "pass", "context": "a", "resource_limits": {"max_memory_mb": 64}}
    refused = server.call("POST", f"/sandboxes/{sandbox}/executions", body)
    assert_problem(refused, 422, "limits_out_of_range")
    assert refused.json["errors"][0]["pointer"] == "/resource_limits/max_memory_mb"
    cell(server, sandbox, "x = 5")
    late = cell(server, sandbox, "while True: pass", resource_limits={"max_execution_time_sec": 1})
    assert late["status"] == "timeout"
    assert "variables are kept" in late["error"]["message"]
    assert stdout(server, sandbox, "print(x)") == "5\n"


def test_a_context_that_ended_itself_begins_anew(server: Served, sandbox: str) -> None:
    cell(server, sandbox, "x = 1")
    ended = cell(server, sandbox, "import os; os._exit(3)")
    assert (ended["status"], ended["output"]["return_code"]) == ("failed", 3)
    assert stdout(server, sandbox, "print('x' in globals())") == "False\n"


def test_an_interpreter_that_ended_between_two_executions_is_told(server: Served, sandbox: str) -> None:
    code = "import os, threading, time\ndef end():\n"
    code += "    while not os.path.exists('go'): time.sleep(0.01)\n    os._exit(1)"
    cell(server, sandbox, f"x = 1\n{code}\nthreading.Thread(target=end).start()")
    put(server, sandbox, "go", b"")
    eventually(lambda: contexts(server, sandbox)["a"][0] == "lost", "the interpreter's end")
    told = cell(server, sandbox, "print(x)")
    assert (told["status"], told["error"]["error_type"]) == ("failed", "context_lost")
    assert stdout(server, sandbox, "print('x' in globals(), open('go').read())") == "False \n"


def test_too_much_memory_ends_the_sandbox_and_each_context_is_told(server: Served) -> None:
    sandbox = made(server, resource_limits={"max_memory_mb": 64})
    cell(server, sandbox, "x = 1", "other")
    ended = cell(server, sandbox, "kept = []\nwhile True: kept.append(bytearray(8 << 20))")
    assert (ended["status"], ended["error"]["error_type"]) == ("failed", "OutOfMemory")
    assert "contexts and files" in ended["error"]["message"]
    assert stdout(server, sandbox, "print(1)") == "1\n"
    told = cell(server, sandbox, "print(x)", "other")
    assert (told["status"], told["error"]["error_type"]) == ("failed", "context_lost")
    assert "ran again" not in told["output"]["stdout"]
    assert stdout(server, sandbox, "print('x' in globals())", "other") == "False\n"


def test_files_go_in_and_out_whatever_their_size(server: Served, sandbox: str) -> None:
    large = os.urandom(3 * MIB)
    assert server.call("GET", f"/sandboxes/{sandbox}/files").json["files"] == []
    written = put(server, sandbox, "in/large.bin", large)
    assert written.status == 201, written.body
    assert (written.json["size"], written.json["error"], written.json["outcome"]) == (3 * MIB, None, "done")
    entry = server.call("GET", f"/ledger/entries/{written.json['ledger']['index']}").json
    assert entry["leaf"]["kind"] == "outcome"
    code = "import os, hashlib\nprint(hashlib.sha256(open('in/large.bin', 'rb').read()).hexdigest())\n"
    code += (
        "open('out.bin', 'wb').write(bytes(range(256)))\nos.mkfifo('pipe')\nos.symlink('/etc/passwd', 'link')"
    )
    assert stdout(server, sandbox, code).strip() == hashlib.sha256(large).hexdigest()
    answer = get(server, sandbox, "out.bin")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert answer.body == bytes(range(256))
    assert get(server, sandbox, "in/large.bin").body == large
    found = server.call("GET", f"/sandboxes/{sandbox}/files").json
    assert [(f["name"], f["size"]) for f in found["files"]] == [("in/large.bin", 3 * MIB), ("out.bin", 256)]
    assert {s["name"]: s["reason"] for s in found["skipped"]} == {
        "pipe": "it is a named pipe",
        "link": "it is a symbolic link",
    }
    below = server.call("GET", f"/sandboxes/{sandbox}/files?folder=in").json
    assert [f["name"] for f in below["files"]] == ["in/large.bin"]
    removed = server.call("POST", f"/sandboxes/{sandbox}/files/remove", {"name": "in"}).json
    assert removed["error"] is None
    assert_problem(get(server, sandbox, "in/large.bin"), 404, "sandbox_file_not_found")
    again = server.call("POST", f"/sandboxes/{sandbox}/files/remove", {"name": "in"}).json
    assert again["error"]["error_type"] == "not_found"
    assert_problem(get(server, sandbox, "link"), 422, "invalid")


def test_files_that_cannot_be_are_refused(server: Served) -> None:
    sandbox = made(server, resource_limits={"max_disk_mb": 2})
    for name in ("../x", "/etc/passwd", "a//b", "a\\b", "n\x01"):
        assert_problem(put(server, sandbox, name, b"x"), 422, "invalid")
        assert_problem(get(server, sandbox, name), 422, "invalid")
    assert_problem(put(server, sandbox, "large", bytes(2 * MIB + 1)), 422, "invalid")
    assert_problem(get(server, sandbox, "none"), 404, "sandbox_file_not_found")
    assert put(server, sandbox, "half", bytes(3 * MIB // 2)).json["error"] is None
    full = put(server, sandbox, "another", bytes(3 * MIB // 2)).json
    assert (full["outcome"], full["error"]["error_type"]) == ("failed", "invalid")
    assert "cannot be put" in full["error"]["message"]
    assert put(server, sandbox, "small", b"fits").json["error"] is None
    given = {"Authorization": f"Bearer {server.key}", "Content-Length": str(1 << 30)}
    answer = server.raw("POST", f"/api/v1/sandboxes/{sandbox}/files?name=x", b"", given)
    assert_problem(answer, 413, "too_large")
    assert "max_file_bytes" in answer.json["hint"]
    server.call("POST", f"/sandboxes/{sandbox}/terminate", {})
    assert_problem(put(server, sandbox, "x", b"x"), 409, "sandbox_terminated")


def test_an_answer_says_what_was_not_taken_out(server: Served, sandbox: str) -> None:
    code = "import os\nfor n in range(1003): open(f'{n:04}', 'w').close()\nos.mkfifo('pipe')"
    output = cell(server, sandbox, code, None)["output"]
    assert (len(output["files"]), output["files_left_out"]) == (1000, 3)
    assert output["skipped"] == [{"name": "pipe", "reason": "it is a named pipe"}]


def test_terminating_ends_the_jail_and_what_runs_in_it(server: Served) -> None:
    sandbox = made(server)
    wait = "import time\nopen('on', 'w').close()\ntime.sleep(60)"
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(cell, server, sandbox, wait, context) for context in ("a", None)]
        where = "/executions?filter=" + quote(f'sandbox_id = "{sandbox}" && status = "running"')
        eventually(
            lambda: (
                len(server.call("GET", where).json["items"]) == 2
                and server.call("GET", f"/sandboxes/{sandbox}/contexts").json["items"]
            ),
            "both run",
        )
        assert server.call("POST", f"/sandboxes/{sandbox}/terminate", {}).json["status"] == "terminated"
        for ended in [each.result() for each in running]:
            assert (ended["status"], ended["error"]["error_type"]) == ("cancelled", "Stopped")
            assert "sandbox was terminated" in ended["error"]["message"]
    row = server.call("GET", f"/sandboxes/{sandbox}").json
    assert (row["container_id"], row["contexts"]) == (None, {})
    for refused in (
        server.call("POST", f"/sandboxes/{sandbox}/executions", {"code": "1", "context": "a"}),
        server.call("POST", f"/sandboxes/{sandbox}/contexts", {}),
    ):
        assert_problem(refused, 409, "sandbox_terminated")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """A server that a test may mistreat."""
    server = Served(tmp_path / "data")
    yield server
    server.stop()


def test_when_the_isolation_program_dies_it_is_told(own: Served) -> None:
    sandbox = made(own)
    cell(own, sandbox, "x = 1")
    put(own, sandbox, "f", b"kept")
    for pid in _isolation_programs(own.data):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not _isolation_programs(own.data), "its end")
    found = eventually(
        lambda: (a := own.call("GET", f"/sandboxes/{sandbox}/files")).status != 503 and a, "an answer"
    )
    assert_problem(found, 410, "sandbox_lost")
    assert contexts(own, sandbox) == {"a": ("lost", 0)}
    told = cell(own, sandbox, "print(x)")
    assert (told["status"], told["error"]["error_type"]) == ("failed", "sandbox_lost")
    assert stdout(own, sandbox, "import os; print('x' in globals(), os.listdir())") == "False []\n"


def test_what_runs_when_the_isolation_program_dies_ends_with_the_cause(own: Served) -> None:
    sandbox = made(own)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cell, own, sandbox, "import time; print('on', flush=True); time.sleep(60)")
        where = "/executions?filter=" + quote(f'sandbox_id = "{sandbox}"')

        def printed() -> bool:
            items = own.call("GET", where).json["items"]
            return bool(items and own.call("GET", f"/executions/{items[0]['id']}/output").json["items"])

        eventually(printed, "its output")
        for pid in _isolation_programs(own.data):
            os.kill(pid, signal.SIGKILL)
        ended = running.result()
    assert (ended["status"], ended["error"]["error_type"]) == ("failed", "host_lost")
    assert "isolation program died" in ended["error"]["message"]
    assert ended["output"]["stdout"] == "on\n"
    assert stdout(own, sandbox, "print('again')") == "again\n"


def test_a_server_that_comes_back_finds_its_contexts(tmp_path: Path) -> None:
    server = Served(tmp_path / "data")
    sandbox = made(server)
    cell(server, sandbox, "x = 'still here'")
    server.process.kill()
    server.process.wait()
    again = Served(tmp_path / "data")
    try:
        assert stdout(again, sandbox, "print(x)") == "still here\n"
    finally:
        again.stop()
