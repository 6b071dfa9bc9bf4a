"""How soon a change is seen by a thousand watchers that all want it: `just live`.

    python benchmarks/live.py [--watchers 1000] [--events 100] [--rate 10] [--busy 0]

Server, watchers and writer are three processes. The watchers' process takes bytes off its
sockets and notes when they came, and nothing else, so that what is measured is the server
and the kernel. A delay is from the commit, by the entry's own time, to the bytes. `--busy`
adds connections that create other rows without a pause: the load.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

NAME = "wanted by all"


class Server:
    """`thane serve` over a new folder."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "thane", "serve", "--data", str(data), "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        text = b""
        while not text.rstrip().endswith(b"}"):
            part = self.process.stdout.readline()
            assert part, "the server ended"
            text += part
        self.host, port = json.loads(text)["url"].removeprefix("http://").split(":")
        self.port = int(port)
        self.key = (data / "keys" / "local-key").read_text().strip()

    def status(self, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(name)))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def create(connection: http.client.HTTPConnection, key: str, name: str) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/sandboxes", json.dumps({"name": name}), headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201


def watch(host: str, port: int, key: str, watchers: int, events: int, pipe: Connection) -> None:
    """All watchers in one process: when which bytes came. Sends (arrivals, text of one) at the end."""
    needed = watchers + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    asked = f"entity=sandboxes&fields=id&filter=name%20%3D%20%22{NAME.replace(' ', '%20')}%22"
    head = (
        f"GET /api/v1/watch?{asked} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\r\n".encode()
    )
    poll = selectors.DefaultSelector()
    for n in range(watchers):
        one = socket.create_connection((host, port))
        one.sendall(head)
        text = b""
        while b"event: ready" not in text or not text.endswith(b"\r\n"):
            text += one.recv(65_536)
        one.setblocking(False)
        poll.register(one, selectors.EVENT_READ, n)
    pipe.send("ready")
    arrivals: list[list[tuple[float, int]]] = [[] for _ in range(watchers)]
    first = b""
    counts = [0] * watchers
    left = watchers
    while left:
        for found, _ in poll.select(60):
            data = found.fileobj.recv(262_144)  # type: ignore[union-attr]
            at = time.time()
            n = found.data
            assert data, "a watcher was cut off"
            if n == 0:
                first += data
            new = data.count(b"event: create")
            if new:
                arrivals[n].append((at, new))
                counts[n] += new
                if counts[n] == events:
                    left -= 1
    pipe.send((arrivals, first))


def commits(text: bytes) -> list[float]:
    """The times of the entries, of one watcher's events in their order."""
    lines = [
        line for line in text.decode().split("\n") if line.startswith("data: ") and '"operation"' in line
    ]
    return [datetime.fromisoformat(json.loads(line[6:])["at"]).timestamp() for line in lines]


def percentile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))]


def measure(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    """One round."""
    mine, theirs = multiprocessing.Pipe()
    given = (server.host, server.port, server.key, options.watchers, options.events, theirs)
    watching = multiprocessing.get_context("spawn").Process(target=watch, args=given)
    watching.start()
    assert mine.recv() == "ready"
    over = threading.Event()
    times: list[float] = []

    def busy() -> None:
        connection = http.client.HTTPConnection(server.host, server.port)
        while not over.is_set():
            began = time.perf_counter()
            create(connection, server.key, "other")
            times.append(time.perf_counter() - began)

    load = [threading.Thread(target=busy) for _ in range(options.busy)]
    for thread in load:
        thread.start()
    before, began = server.cpu_seconds(), time.monotonic()
    connection = http.client.HTTPConnection(server.host, server.port)
    for n in range(options.events):
        until = began + n / options.rate
        time.sleep(max(0.0, until - time.monotonic()))
        create(connection, server.key, NAME)
    arrivals, first = mine.recv()
    took, used = time.monotonic() - began, server.cpu_seconds() - before
    over.set()
    for thread in load:
        thread.join()
    watching.join()
    at = commits(first)
    assert len(at) == options.events
    delays: list[float] = []
    for own in arrivals:
        n = 0
        for came, new in own:
            delays += [(came - at[i]) * 1000 for i in range(n, n + new)]
            n += new
    delays.sort()
    return {
        "cpu_us": used * 1e6 / len(delays),
        "p50": percentile(delays, 0.5), "p99": percentile(delays, 0.99), "most": delays[-1],
        "rss_mb": server.status("VmRSS") >> 10, "cpu": used / took,
        "writes_per_second": len(times) / took if times else 0.0,
        "write_p50": statistics.median(times) * 1000 if times else 0.0,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--rate", type=float, default=10.0, help="events per second that all watchers want")
    parser.add_argument("--busy", type=int, default=4, help="connections that write other rows meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thane-live-") as folder:
        server = Server(Path(folder) / "data")
        try:
            print(f"{options.watchers} watchers want the same {options.events} events, {options.rate:g}/s")
            for connections in sorted({0, options.busy}):
                options.busy = connections
                made = measure(server, options)
                print(
                    f"  beside {connections} busy writers ({made['writes_per_second']:.0f} writes/s, "
                    f"p50 {made['write_p50']:.1f} ms): commit to client p50 {made['p50']:.1f}, "
                    f"p99 {made['p99']:.1f}, most {made['most']:.1f} ms; "
                    f"server {made['cpu']:.2f} cores "
                    f"({made['cpu_us']:.0f} µs for each event of a client), {made['rss_mb']} MB"
                )
        finally:
            server.process.terminate()
            server.process.wait(60)


if __name__ == "__main__":
    main()
