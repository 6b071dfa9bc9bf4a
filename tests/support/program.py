"""The program as people start it: `thane …` in a process of its own, and `thane serve` with a caller."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

PROGRAM = (sys.executable, "-m", "thane")
PATIENCE = 60.0
READY = re.compile(rb"thane is ready at https?://([^:\s]+|\[[^\]]+\]):(\d+)")


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would set Thane up otherwise."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("THANE_", "DATABASE_"))}
    return {**kept, **more}


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def notes(self) -> str:
        return self.err.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def summary(self) -> list[str]:
        """The words of the line that `thane run` ends with."""
        last = self.notes.splitlines()[-1]
        assert last.startswith("thane: run_"), self.notes
        return last.replace(",", "").split()[1:]


def thane(
    *arguments: str | Path,
    data: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = PATIENCE,
) -> Ended:
    """Run a command to its end."""
    given = [str(a) for a in arguments]
    if data is not None:
        given += ["--data", str(data)]
    done = subprocess.run(
        [*PROGRAM, *given],
        cwd=cwd,
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def started(*arguments: str | Path, cwd: Path | None = None, **env: str) -> subprocess.Popen[bytes]:
    """A command that runs on, with its output in pipes."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer of `condition`, asked again and again for a bounded time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A running `thane serve` over a data folder."""

    def __init__(self, data: Path, *options: str, **env: str) -> None:
        self.data = data
        self.log = data.with_name(data.name + ".log")
        self._before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, "serve", "--data", str(data), "--port", "0", *options],
                env=environment(**env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        found = eventually(self._ready, "a server that is ready")
        self.host, self.port = found[1].decode(), int(found[2])
        self.key = (data / "keys" / "local-key").read_text().strip()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def _ready(self) -> re.Match[bytes] | None:
        text = self.log.read_bytes()[self._before :]
        assert self.process.poll() is None, text.decode()
        return READY.search(text)

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request exactly as it is given."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> Answer:
        """One request in JSON, as the local owner or with another `key`. `If_Match` is `If-Match`."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given["Authorization"] = f"Bearer {self.key if key is None else key}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        where = path if path.startswith(("/api/", "/health", "/metrics", "/openapi")) else f"/api/v1{path}"
        return self.raw(method, where, data, given)

    def stop(self) -> int:
        """Stop it as Ctrl-C does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)
