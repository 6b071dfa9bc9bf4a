"""A load generator, a process of its own: asks a server for much at once and writes down what it answered.

    python load.py --url URL --key-file FILE --journal FILE --seed N [--workers N]

Every POST that was answered becomes a line of the journal once its answer is complete; one
that carries an Idempotency-Key is written down before it is sent too, so that it can be sent
again. It ends when nobody answers any more, or by SIGTERM with the requests that are under
way. Standard library only: it must start at once, and share nothing with what it tests.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60.0
BROKEN = (OSError, http.client.HTTPException, ValueError)

# What is run. `{mark}` makes each program one of its own, which its text is found by.
PROGRAMS = {
    "short": "print('{mark}')",
    "slow": "import time; time.sleep({seconds}); print('{mark}')",
    "chatty": (
        "import sys, time\n"
        "for n in range(40):\n"
        "    print('{mark}', n, 'x' * 400, file=sys.stderr if n % 3 == 0 else sys.stdout, flush=True)\n"
        "    time.sleep({seconds} / 40)\n"
    ),
    "files": "open('report.txt', 'w').write('{mark}' * 500); open('second.bin', 'wb').write(bytes(5000))",
    "fails": "raise RuntimeError('{mark}')",
    "exits": "import sys; sys.exit(3)  # {mark}",
}


@dataclass
class Answer:
    """What came back; `body` is decoded JSON."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Api:
    """One server, spoken to with a key over HTTP; with `keep` a thread keeps its connection."""

    url: str
    key: str
    timeout: float = TIMEOUT_SECONDS
    keep: bool = False
    _local: threading.local = field(default_factory=threading.local)

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request. Raises one of BROKEN if it was not answered whole."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            address = urlsplit(self.url)
            connection = http.client.HTTPConnection(
                address.hostname or "", address.port, timeout=self.timeout
            )
            self._local.connection = connection
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(headers or {})}
        try:
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            data = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            if not self.keep:
                self.close()
            return Answer(response.status, found, json.loads(data) if data else None)
        except BROKEN:
            self.close()
            raise

    def close(self) -> None:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


class Journal:
    """Appends lines. One write for each, so that no two threads' lines mix."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, **line: Any) -> None:
        os.write(self._fd, json.dumps(line).encode() + b"\n")


class Worker:
    """One of many who ask: a run, sandboxes in it, programs in those, and from the beginning."""

    def __init__(self, api: Api, journal: Journal, seed: str, stop: threading.Event) -> None:
        self._api = api
        self._journal = journal
        self._random = random.Random(seed)
        self._seed = seed
        self._stop = stop
        self._count = 0
        self._refused = 0

    def work(self) -> None:
        """Until told to stop, or nobody answers."""
        try:
            while not self._stop.is_set():
                self._piece()
        except BROKEN as fault:
            self._journal.note(event="broken", why=repr(fault))

    def _piece(self) -> None:
        run = self._post("runs.create", "/runs", lambda mark: {"purpose": mark})
        if run is None:
            return
        inside = {"Thane-Run": run["id"]}
        sandbox = self._post(
            "sandboxes.create",
            "/sandboxes",
            lambda mark: {
                "name": mark,
                "metadata": {"mark": mark},
                "resource_limits": {"max_memory_mb": 64, "max_execution_time_sec": 5},
            },
            inside,
        )
        if sandbox is None:
            return
        for _ in range(self._random.randrange(1, 4)):
            if self._stop.is_set():
                return
            self._post("sandboxes.execute", f"/sandboxes/{sandbox['id']}/executions", self._program, inside)
        if self._random.random() < 0.3:
            self._post("sandboxes.terminate", f"/sandboxes/{sandbox['id']}/terminate", lambda mark: None)
        if self._random.random() < 0.6:
            path = f"/runs/{run['id']}/finish"
            self._post("runs.finish", path, lambda mark: {"outcome": mark})

    def _program(self, mark: str) -> dict[str, Any]:
        weights = {"short": 4, "slow": 2, "chatty": 2, "files": 2, "fails": 1, "exits": 1}
        kind = self._random.choices(list(weights), list(weights.values()))[0]
        seconds = round(self._random.uniform(0.02, 0.4), 3)
        return {"code": PROGRAMS[kind].format(mark=mark, seconds=seconds)}

    def _post(
        self, operation: str, path: str, made: Any, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | None:
        self._count += 1
        mark = f"m{self._seed.replace('/', '-')}-{self._count}"
        body = made(mark)
        asked: dict[str, Any] = {"operation": operation, "path": path, "mark": mark, "body": body}
        sent = dict(headers or {})
        if self._random.random() < 0.4:
            sent["Idempotency-Key"] = asked["key"] = mark
            self._journal.note(event="asked", headers=headers or {}, **asked)
        answer = self._api.call("POST", path, body, sent)
        self._journal.note(
            event="answered",
            status=answer.status,
            index=answer.headers.get("thane-ledger-index"),
            intent_index=answer.headers.get("thane-intent-index"),
            answer=answer.body,
            **asked,
        )
        if answer.status >= 400:
            self._refused += 1
            if self._refused > 200:  # a server that only refuses is not a load but a loop
                self._stop.set()
            return None
        return answer.body if isinstance(answer.body, dict) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--workers", type=int, default=6)
    arguments = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    journal = Journal(arguments.journal)
    key = arguments.key_file.read_text().strip()
    threads = []
    for n in range(arguments.workers):
        worker = Worker(Api(arguments.url, key, keep=True), journal, f"{arguments.seed}/{n}", stop)
        threads.append(threading.Thread(target=worker.work))
        threads[-1].start()
    for thread in threads:
        while thread.is_alive():  # a join without an end would hold up the signal's handler
            thread.join(0.1)
    sys.exit(0)


if __name__ == "__main__":
    main()
