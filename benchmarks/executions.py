"""How fast executions are through HTTP with everything on, against plain unjailed Python, in one run.

    uv run --no-sync python benchmarks/executions.py [--rounds N]

The server is started with the README's command and default settings: ledger, billing, samples,
access rows and signing are on. Everything is measured turn by turn, so that load meets all
alike. It prints figures and ratios and where the time goes, and judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
CODE = "print(1)"
AT_ONCE = 16


class Connection:
    """One kept-alive connection, as a client in production has it."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._place = (host, port)
        self._head = f"host: {host}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"

    async def open(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection(*self._place)
        return self

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /api/v1{path} HTTP/1.1\r\n{self._head}content-length: {len(content)}\r\n\r\n"
        self._writer.write(head.encode() + content)
        status = int((await self._reader.readuntil(b"\r\n")).split()[1])
        length = 0
        while (line := await self._reader.readuntil(b"\r\n")) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answer = json.loads(await self._reader.readexactly(length))
        assert status < 300, answer
        return answer

    def close(self) -> None:
        self._writer.close()


async def plain() -> None:
    running = await asyncio.create_subprocess_exec(
        PYTHON, "-c", CODE, stdout=asyncio.subprocess.PIPE, env={"PATH": os.defpath}
    )
    out, _ = await running.communicate()
    assert out == b"1\n"


async def timed(call: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = await call()
    return (time.perf_counter() - began) * 1000, answer


async def saturate(count: int, workers: list[Callable[[], Awaitable[Any]]]) -> float:
    """Calls per second, each worker making one after the other."""
    left = iter(range(count))

    async def work(call: Callable[[], Awaitable[Any]]) -> None:
        for _ in left:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(work(call) for call in workers))
    return count / (time.perf_counter() - began)


def shown(found: list[float]) -> str:
    ordered = sorted(found)
    return f"p50 {statistics.median(ordered):8.2f} ms   p95 {ordered[int(len(ordered) * 0.95) - 1]:8.2f} ms"


async def measure(one: Connection, many: list[Connection], rounds: int) -> None:
    sandbox = (await one.call("POST", "/sandboxes", {}))["id"]
    where = f"/sandboxes/{sandbox}/executions"
    shot, cell = {"code": CODE}, {"code": CODE, "context": "bench"}
    first = await one.call("POST", where, shot)
    await one.call("POST", where, cell)
    print(f"tier {first['isolation']['tier']}, enforced by {first['isolation']['limits']}")
    found: dict[str, list[float]] = {}

    def note(name: str, milliseconds: float) -> None:
        found.setdefault(name, []).append(milliseconds)

    for _ in range(rounds):
        note("plain python3 -c", (await timed(plain))[0])
        took, done = await timed(lambda: one.call("POST", where, shot))
        assert (done["status"], done["output"]["stdout"]) == ("completed", "1\n"), done
        assert done["ledger"] is not None, "the ledger is off: no ratio"
        assert done["billing_info"]["cost_usd"] != "0", "billing is off: no ratio"
        note("execution through HTTP", took)
        note("  of which its jail ran", float(done["duration_ms"]))
        for _ in range(5):
            took, done = await timed(lambda: one.call("POST", where, cell))
            assert done["status"] == "completed", done
            note("stateful cell through HTTP", took)
            note("  of which the cell ran", float(done["duration_ms"]))
        note("for comparison: a read", (await timed(lambda: one.call("GET", f"/sandboxes/{sandbox}")))[0])
        note(
            "for comparison: a change", (await timed(lambda: one.call("POST", "/runs", {"purpose": "x"})))[0]
        )
    for name, values in found.items():
        print(f"  {name:28} {shown(values)}")
    await show_ratios(found, many, where, shot, max(60, rounds * 2))


async def show_ratios(
    found: dict[str, list[float]], many: list[Connection], where: str, shot: dict[str, str], count: int
) -> None:
    def calls(each: Connection) -> Callable[[], Awaitable[Any]]:
        return lambda: each.call("POST", where, shot)

    rates = {"plain": 0.0, "thane": 0.0}
    for _ in range(2):  # turn by turn, and the better of two
        rates["plain"] = max(rates["plain"], await saturate(count, [plain] * AT_ONCE))
        rates["thane"] = max(rates["thane"], await saturate(count, [calls(each) for each in many]))
    print(f"  saturated, {AT_ONCE} at once: plain {rates['plain']:.1f}/s, thane {rates['thane']:.1f}/s")
    base = statistics.median(found["plain python3 -c"])
    for name, value, goal in (
        ("execution p50 / plain", statistics.median(found["execution through HTTP"]) / base, "<= 1.0"),
        ("saturated / plain", rates["thane"] / rates["plain"], ">= 1.2"),
        ("stateful cell p50, ms", statistics.median(found["stateful cell through HTTP"]), "<= 5"),
        ("stateful cell p50 / plain", statistics.median(found["stateful cell through HTTP"]) / base, "none"),
    ):
        operator, _, bound = goal.partition(" ")
        good = not bound or (value <= float(bound) if operator == "<=" else value >= float(bound))
        verdict = "" if not bound else "reached" if good else "NOT reached"
        print(f"{name:28} {value:8.2f}   goal {goal:7} {verdict}")


async def main(rounds: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="thane-bench-"))
    command = [
        sys.executable,
        "-m",
        "thane",
        "serve",
        "--data",
        str(folder / "data"),
        "--port",
        "0",
        "--json",
    ]
    environment = {n: v for n, v in os.environ.items() if not n.startswith("THANE_")}
    server = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        assert server.stdout is not None
        text = b""
        while b"\n}" not in text:
            line = server.stdout.readline()
            assert line, "the server did not start"
            text += line
        host, _, port = json.loads(text)["url"].removeprefix("http://").rpartition(":")
        key = (folder / "data" / "keys" / "local-key").read_text().strip()
        print(
            f"{len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}, uid {os.getuid()},"
            f" Linux {os.uname().release}; {rounds} rounds; `thane serve` with its default settings"
        )
        connections = [await Connection(host, int(port), key).open() for _ in range(AT_ONCE + 1)]
        await measure(connections[0], connections[1:], rounds)
        for each in connections:
            each.close()
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    asyncio.run(main(parser.parse_args().rounds))
