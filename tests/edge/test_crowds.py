"""Many at one time, against the program as it is started: what they cost, and who is told to come back."""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import require
from tests.support.program import PATIENCE, PROGRAM, Served, environment, eventually

OWN_FILES = 512


def room_for(connections: int) -> None:
    """As many open files as that many connections need here; the server raises its own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OWN_FILES
    there = hard == resource.RLIM_INFINITY or hard >= connections + 1024
    require(there, f"{connections + 1024} open files", get=f"ulimit -n {connections + 1024}")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def memory_mb(server: Served) -> float:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def test_idle_connections_cost_little_and_hold_up_nobody(
    tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = pytestconfig.getoption("--crowd")
    room_for(crowd)
    server = Served(
        tmp_path / "data", THANE_HTTP_IDLE_TIMEOUT_SECS="600", THANE_HTTP_MAX_CONNECTIONS=str(crowd + 100)
    )
    idle: list[socket.socket] = []
    try:
        server.call("GET", "/me")
        before = memory_mb(server)
        for _ in range(crowd):
            idle.append(socket.create_connection((server.host, server.port), PATIENCE))
        ask = f"GET /api/v1/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\n\r\n".encode()
        times = []
        for _ in range(50):
            began = time.perf_counter()
            assert server.call("GET", "/me").status == 200
            times.append(time.perf_counter() - began)
        after = memory_mb(server)
        for one in idle[:: max(1, crowd // 100)]:  # they were held, and are as good as new ones
            one.sendall(ask)
            assert one.recv(65_536).startswith(b"HTTP/1.1 200 ")
        with capsys.disabled():
            print(
                f"\n  {crowd} idle connections: {(after - before) * 1024 / crowd:.1f} KB each, "
                f"{after:.0f} MB in all; a request beside them {sorted(times)[25] * 1000:.1f} ms"
            )
        assert (after - before) * 1024 / crowd < 32
    finally:
        for one in idle:
            one.close()
        assert server.stop() == 0, server.log.read_text()


class Peak:
    """The most memory that a server has for the time of the block."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.most = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, memory_mb(self.server))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def flood(server: Served, connections: int, body: bytes) -> Counter[int]:
    """So many requests at one time, each on its own connection; the statuses that came back."""
    head = (
        f"POST /api/v1/sandboxes HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode()
    poll = selectors.DefaultSelector()
    found: Counter[int] = Counter()
    for _ in range(connections):
        opened = socket.create_connection((server.host, server.port), PATIENCE)
        opened.setblocking(False)
        poll.register(opened, selectors.EVENT_READ | selectors.EVENT_WRITE, [memoryview(head + body), b""])
    while poll.get_map():
        ready = poll.select(PATIENCE)
        assert ready, "nobody is answered any more"
        for key, events in ready:
            one, state = key.fileobj, key.data
            assert isinstance(one, socket.socket)
            if events & selectors.EVENT_WRITE:
                with contextlib.suppress(OSError):  # answered already
                    state[0] = state[0][one.send(state[0][:65_536]) :]
                if not state[0]:
                    poll.modify(one, selectors.EVENT_READ, state)
            if events & selectors.EVENT_READ:
                try:
                    part = one.recv(65_536)
                except ConnectionError:  # hung up on what came after the answer
                    part = b""
                state[1] += part
                if not part:
                    poll.unregister(one)
                    one.close()
                    found[_checked(state[1])] += 1
    return found


def _checked(answer: bytes) -> int:
    if not answer:
        return 0
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    if status == 503:
        assert b"retry-after: " in head.lower()
        assert json.loads(body)["retryable"] is True
    return status


def test_a_flood_is_answered_503_before_memory_grows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bodies of 150 MB in all come at one time; 8 MB may be held."""
    connections, size = 300, 500_000
    room_for(connections)
    bounds = {"MAX_REQUESTS": "8", "MAX_QUEUE": "16", "MAX_BUFFERED_BYTES": str(8 << 20)}
    server = Served(tmp_path / "data", **{f"THANE_HTTP_{name}": value for name, value in bounds.items()})
    body = json.dumps({"name": "flood", "metadata": {}}).encode().ljust(size)
    try:
        assert flood(server, 4, body) == {201: 4}
        before = memory_mb(server)
        with Peak(server) as peak:
            found = flood(server, connections, body)
        with capsys.disabled():
            print(f"\n  {connections} bodies of {size} bytes: {dict(found)}; memory {before:.0f} MB, "
                  f"at most {peak.most:.0f} MB")  # fmt: skip
        assert set(found) <= {201, 503, 0}
        assert found[201] > 0
        assert found[503] > 0
        assert found[0] < connections / 10, "nearly all are told, and not merely hung up on"
        # uvicorn's own buffers, 64 KB of each connection, come on top of what is held.
        assert peak.most - before < 8 + connections * 0.15 + 16
        assert flood(server, 4, body) == {201: 4}
    finally:
        assert server.stop() == 0, server.log.read_text()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Served, str]]:
    """A server with one slot and one place to wait for it, and a sandbox."""
    server = Served(tmp_path / "data", THANE_ISOLATION_SLOTS="1", THANE_ISOLATION_MAX_QUEUE="1")
    yield server, server.call("POST", "/sandboxes", {}).json["id"]
    assert server.stop() == 0, server.log.read_text()


def test_executions_that_nobody_could_wait_for_are_not_begun(busy: tuple[Served, str]) -> None:
    server, sandbox = busy
    where = f"/sandboxes/{sandbox}/executions"
    answers: dict[int, Any] = {}

    def execute(n: int) -> None:
        answers[n] = server.call("POST", where, {"code": "input()", "stdin": ""} if n > 1 else {"code": LONG})

    def statuses() -> list[str]:
        return sorted(item["status"] for item in server.call("GET", "/executions").json["items"])

    threads = [threading.Thread(target=execute, args=(n,)) for n in range(2)]
    for thread, expected in zip(threads, (["running"], ["queued", "running"]), strict=True):
        thread.start()
        eventually(lambda expected=expected: statuses() == expected, f"executions {expected}")  # type: ignore[misc]
    refused = server.call("POST", where, {"code": "print(1)"})
    assert (refused.status, refused.json["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert statuses() == ["queued", "running"], "nothing of it was begun"
    for thread in threads:
        thread.join(PATIENCE)
    assert [answers[n].status for n in range(2)] == [201, 201]
    assert server.call("POST", where, {"code": "print(1)"}).status == 201


LONG = "import time\ntime.sleep(3)"


def started_with(limit: int, data: Path) -> subprocess.Popen[bytes]:
    command = [*PROGRAM, "serve", "--port", "0", "--data", str(data)]
    return subprocess.Popen(
        ["bash", "-c", f'ulimit -n {limit}; exec "$@"', "-", *command],
        env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_too_few_open_files_are_told_with_the_cure(tmp_path: Path) -> None:
    process = started_with(1050, tmp_path / "none")
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert b"this process may open 1050 files" in told
    assert b"ulimit -n 13024" in told
    process = started_with(1500, tmp_path / "few")
    try:
        assert process.stderr is not None
        said = b""
        while b"thane is ready" not in said:
            part = process.stderr.readline()
            assert part, said
            said += part
        assert b"476 connections are let in" in said
        assert b"LimitNOFILE=13024" in said
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
