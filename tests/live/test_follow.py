"""`thane timeline --follow`, beside a server and without one: what happens is printed as it happens."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.live.conftest import percentile
from tests.support.program import Served, started, thane

BOUND = 30.0
Lines = Iterator[tuple[str, float]]


@contextmanager
def following(data: Path, *arguments: str) -> Iterator[tuple[Lines, subprocess.Popen[bytes]]]:
    """The command at work, and its lines with the time at which they came."""
    process = started("timeline", "--follow", "--data", data, *arguments)
    lines: queue.Queue[tuple[str, float] | None] = queue.Queue()
    output = process.stdout
    assert output is not None

    def read() -> None:
        for line in output:
            lines.put((line.decode().rstrip("\n"), time.time()))
        lines.put(None)

    def told() -> Lines:
        while (found := lines.get(timeout=BOUND)) is not None:
            yield found

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        yield told(), process
    finally:
        process.kill()
        process.wait(BOUND)
        reading.join(BOUND)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def test_it_follows_a_running_server_from_another_process(
    server: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    size = server.call("GET", "/ledger/checkpoint").json["size"]
    with following(server.data, "--json", "--limit", "2") as (lines, process):
        shown = [json.loads(next(lines)[0])["index"] for _ in range(2)]
        assert shown == [size - 2, size - 1]
        made = [server.call("POST", "/sandboxes", {"name": f"followed {n}"}).json["id"] for n in range(40)]
        delays = []
        for n, id_ in enumerate(made):
            text, at = next(lines)
            row = json.loads(text)
            assert (row["index"], row["operation"], row["resource"]) == (size + n, "sandboxes.create", id_)
            happened = datetime.strptime(row["time"], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
            delays.append((at - happened.timestamp()) * 1000)
        with capsys.disabled():
            print(f"\n  commit to a line of another process: p50 {percentile(delays, 0.5):.0f} ms, "
                  f"most {max(delays):.0f} ms")  # fmt: skip
        assert percentile(delays, 0.5) < 1000
        process.send_signal(signal.SIGINT)
        assert process.wait(BOUND) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_it_follows_one_run_and_prints_columns(server: Served) -> None:
    run = server.call("POST", "/runs", {"purpose": "followed"}).json["id"]
    with following(server.data, run) as (lines, _):
        assert next(lines)[0].split()[:2] == ["INDEX", "TIME"]
        assert "runs.create" in next(lines)[0]
        server.call("POST", "/sandboxes", {"name": "elsewhere"})
        mine = server.call("POST", "/sandboxes", {"name": "within"}, Thane_Run=run).json["id"]
        assert mine in next(lines)[0]
        server.call("POST", f"/runs/{run}/finish", {})
        assert "runs.finish" in next(lines)[0]


def test_it_follows_commands_that_own_the_folder_one_after_another(tmp_path: Path) -> None:
    data = tmp_path / "data"
    refused = thane("timeline", "--follow", data=data)
    assert refused.code == 2
    assert "no store" in refused.notes
    assert thane("run", "-c", "print(1)", data=data).code == 0
    with following(data, "--json", "--limit", "1") as (lines, _):
        next(lines)
        for n in range(2):
            assert thane("run", "-c", f"print({n})", data=data).code == 0
            operations: list[str] = []
            while "runs.finish" not in operations:
                operations.append(json.loads(next(lines)[0])["operation"])
            assert "sandboxes.execute" in operations
