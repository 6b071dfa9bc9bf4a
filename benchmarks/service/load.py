"""One stretch of load by wrk, and what it found."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

SCRIPT = Path(__file__).with_name("load.lua")


class Request(NamedTuple):
    """What is asked, over and over; of several paths one is drawn each time."""

    method: str
    paths: tuple[str, ...]
    headers: dict[str, str]
    body: str | None = None
    keyed: bool = False


class Found(NamedTuple):
    """Latencies are milliseconds."""

    seconds: float
    requests: int
    p50: float
    p95: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def require() -> None:
    """Leave with the command that brings wrk if it is not there."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: sudo apt-get install wrk")


def load(url: str, request: Request, connections: int, seconds: int) -> Found:
    """Keep `connections` busy; RuntimeError if any answer was an error or was lost."""
    with tempfile.TemporaryDirectory() as scratch:
        spec = Path(scratch, "spec.lua")
        spec.write_text(_lua(request))
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "30s",
            "-s",
            str(SCRIPT),
            url,
        ]
        seed = str(random.getrandbits(48))
        done = subprocess.run([*command, "--", str(spec), seed], capture_output=True, text=True, check=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    if line is None:
        raise RuntimeError(f"wrk said nothing: {done.stdout}{done.stderr}")
    found = json.loads(line.removeprefix("FOUND "))
    if found.pop("errors"):
        raise RuntimeError(f"{request.method} {request.paths[0]} had errors: {done.stdout}")
    return Found(**found)


def _lua(request: Request) -> str:
    headers = ", ".join(f"[{json.dumps(k)}] = {json.dumps(v)}" for k, v in request.headers.items())
    paths = ", ".join(json.dumps(p) for p in request.paths)
    body = "nil" if request.body is None else json.dumps(request.body)
    keyed = "true" if request.keyed else "false"
    return (
        f"return {{method = {json.dumps(request.method)}, headers = {{{headers}}}, "
        f"paths = {{{paths}}}, body = {body}, keyed = {keyed}}}\n"
    )
