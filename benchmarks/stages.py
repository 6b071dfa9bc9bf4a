"""What each stage of a request costs in microseconds of CPU, from socket to disk.

    uv run python -m benchmarks.stages [--requests N]

A whole server in this process, asked without sockets: alone, and by 16 at a time, whose
writes share commits. A stage's figure is its own, without the stages inside it, in CPU
time of the loop's thread, so that what else runs on the machine counts little; what the
clock itself costs is taken off. Then the same over sockets, where wrk is installed: what
is more is uvicorn, the parser and the system calls. Nothing here is in the product.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import inspect
import json
import random
import shutil
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from uvloop import new_event_loop

from benchmarks.service.load import Request, load
from thane.adapters.disk import DataFolder
from thane.adapters.sqlite.reader import Reader
from thane.adapters.sqlite.trees import Trees
from thane.adapters.sqlite.writer import Writer
from thane.bootstrap.system import System
from thane.interfaces.http import app as http
from thane.interfaces.http.routing import Router
from thane.interfaces.http.server import HttpServer
from thane.kernel.operations.pipeline import Pipeline
from thane.kernel.operations.stages import execute, idempotency, identify, limit, observe, rules
from thane.kernel.operations.stages.authorise import Authorise
from thane.kernel.records.store import Records
from thane.kernel.records.unit import Unit
from thane.kernel.settings import load as settings

AT_ONCE = 16
ROWS = 2000
NEW, UPDATED = {"purpose": "monthly report"}, {"purpose": "quarterly report"}
OPERATIONS = ("get", "list", "create", "update")
# In the order of a request. What is named twice is one stage.
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("edge: route", Router, "find"),
    ("edge: read the request", http, "call_of"),
    ("edge: headers, answer", http.HttpApp, "__call__"),
    ("pipeline itself", Pipeline, "call"),
    ("limits", limit.Limit, "by_address"),
    ("limits", limit.Limit, "by_principal"),
    ("identify", identify.Identify, "__call__"),
    ("authorise", Authorise, "__call__"),
    ("unit: run, retry", Records, "run"),
    ("unit: run, retry", Records, "read"),
    ("idempotency", idempotency.Idempotency, "claim"),
    ("rules", rules.JudgeRules, "__call__"),
    ("handler", Unit, "create"),
    ("handler", Unit, "update"),
    ("handler: reads", Reader, "rows"),
    ("answer as JSON", execute, "answer"),
    ("digests, sealing", Unit, "write_set"),
    ("commit: transaction", Writer, "apply"),
    ("commit: rows", Writer, "_change"),
    ("commit: leaf, hash", Trees, "append"),
    ("commit: entries", Trees, "flush"),
    ("access row, figures", observe.Observe, "answered"),
)


class Stopwatch:
    """Own CPU time by stage: a stack, of which only the top runs."""

    def __init__(self) -> None:
        self.own: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._stack: list[str] = []
        self._since = time.thread_time_ns()

    def enter(self, name: str) -> None:
        self._charge()
        self._stack.append(name)
        self.calls[name] += 1

    def leave(self) -> None:
        self._charge()
        self._stack.pop()

    def _charge(self) -> None:
        now = time.thread_time_ns()
        self.own[self._stack[-1] if self._stack else "loop, this benchmark"] += now - self._since
        self._since = time.thread_time_ns()

    def forget(self) -> None:
        self.own.clear()
        self.calls.clear()
        self._since = time.thread_time_ns()

    def wrap(self, name: str, called: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(called):

            @functools.wraps(called)
            def timed(*args: Any, **kwargs: Any) -> Any:
                return _Steps(self, name, called(*args, **kwargs))

        else:

            @functools.wraps(called)
            def timed(*args: Any, **kwargs: Any) -> Any:
                self.enter(name)
                try:
                    return called(*args, **kwargs)
                finally:
                    self.leave()

        return timed


class _Steps:
    """A coroutine whose every step is timed; between its steps others run."""

    def __init__(self, watch: Stopwatch, name: str, inner: Any) -> None:
        self._watch, self._name, self._inner = watch, name, inner

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._inner.__await__()
        failed: BaseException | None = None
        while True:
            self._watch.enter(self._name)
            try:
                waits_for = steps.send(None) if failed is None else steps.throw(failed)
            except StopIteration as end:
                return end.value
            finally:
                self._watch.leave()
            failed = None
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - what it waited for has failed: it is told
                failed = error


def attach(watch: Stopwatch) -> Callable[[], None]:
    """Time every stage; the answer takes it all back."""
    before = [(owner, attribute, vars(owner)[attribute]) for _, owner, attribute in STAGES]
    for (name, owner, attribute), (_, _, original) in zip(STAGES, before, strict=True):
        setattr(owner, attribute, watch.wrap(name, original))

    def detach() -> None:
        for owner, attribute, original in before:
            setattr(owner, attribute, original)

    return detach


class Asker:
    """Asks a server's application without a socket."""

    def __init__(self, system: System, key: str) -> None:
        self._app = system.app
        self.headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._ids: list[str] = []

    async def ask(self, method: str, path: str, body: bytes = b"", *, query: str = "", key: str = "") -> Any:
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        if key:
            headers.append((b"idempotency-key", key.encode()))
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
        await self._app({**scope, "headers": headers, "client": ("127.0.0.1", 1)}, receive, send)
        if sent[0]["status"] >= 300:
            raise RuntimeError(f"{method} {path}: {sent}")
        return sent[1]["body"]

    async def seed(self) -> None:
        body = json.dumps({"runs": [NEW] * 1000}).encode()
        for _ in range(ROWS // 1000):
            made = json.loads(await self.ask("POST", "/api/v1/runs/batch", body))
            self._ids += [row["id"] for row in made["items"]]

    def requests(self, operation: str) -> Request:
        """The same as the benchmark against PocketBase asks."""
        one = tuple(f"/api/v1/runs/{id_}" for id_ in self._ids)
        listed = {"filter": 'status = "open"', "sort": "-created_at", "limit": "30"}
        return {
            "get": Request("GET", one, self.headers),
            "list": Request("GET", (f"/api/v1/runs?{urlencode(listed)}",), self.headers),
            "create": Request("POST", ("/api/v1/runs",), self.headers, json.dumps(NEW), keyed=True),
            "update": Request("PATCH", one, self.headers, json.dumps(UPDATED)),
        }[operation]

    async def many(self, operation: str, count: int, at_once: int) -> None:
        request = self.requests(operation)
        body = (request.body or "").encode()

        async def worker() -> None:
            for _ in range(count // at_once):
                path, _, query = random.choice(request.paths).partition("?")
                key = uuid.uuid4().hex if request.keyed else ""
                await self.ask(request.method, path, body, query=query, key=key)

        await asyncio.gather(*(worker() for _ in range(at_once)))


async def cpu_us(work: Awaitable[Any], count: int) -> float:
    """Microseconds of CPU of this whole process, for each of `count`."""
    gc.collect()
    began = time.process_time()
    await work
    return (time.process_time() - began) / count * 1e6


def overhead_us() -> float:
    """What one timed stage adds to its own figure."""
    watch = Stopwatch()
    nothing = watch.wrap("nothing", lambda: None)
    for _ in range(20_000):
        nothing()
    return watch.own["nothing"] / 20_000 / 1000


async def stages(asker: Asker, watch: Stopwatch, count: int) -> dict[str, list[float]]:
    """By stage: its figure for each operation, alone and by 16."""
    clock = overhead_us()
    found: dict[str, list[float]] = {name: [] for name, _, _ in STAGES}
    for operation in OPERATIONS:
        for at_once in (1, AT_ONCE):
            watch.forget()
            await asker.many(operation, count, at_once)
            for name, figures in found.items():
                own = watch.own[name] / 1000 - watch.calls[name] * clock
                figures.append(max(0.0, own / count))
    return found


async def over_sockets(system: System, asker: Asker, seconds: int) -> dict[str, float]:
    """Microseconds of CPU of a request that comes over a socket, 16 at a time."""
    server = HttpServer(system.app)
    host, port = await server.start_tcp("127.0.0.1", 0)
    found: dict[str, float] = {}
    try:
        for operation in OPERATIONS:
            taken: list[float] = []
            for _ in range(3):
                began = time.process_time()
                asked = asyncio.to_thread(
                    load, f"http://{host}:{port}", asker.requests(operation), AT_ONCE, seconds
                )
                count = (await asked).requests
                taken.append((time.process_time() - began) / count * 1e6)
            found[operation] = statistics.median(taken)
    finally:
        await server.stop()
    return found


async def measure(home: Path, count: int) -> None:
    system = System(settings(None, {}).settings, DataFolder(home / "data"), role="serve")
    await system.open()
    try:
        asker = Asker(system, (home / "data" / "keys" / "local-key").read_text().strip())
        await asker.seed()
        for operation in OPERATIONS:
            await asker.many(operation, 200, 1)
        watch = Stopwatch()
        detach = attach(watch)
        table = await stages(asker, watch, count)
        detach()
        alone = [await cpu_us(asker.many(o, count, 1), count) for o in OPERATIONS]
        together = [await cpu_us(asker.many(o, count, AT_ONCE), count) for o in OPERATIONS]
        await system.jobs.start()
        with_jobs = [await cpu_us(asker.many(o, count, AT_ONCE), count) for o in OPERATIONS]
        sockets = await over_sockets(system, asker, 2) if shutil.which("wrk") else {}
    finally:
        await system.stop()
    show(table, alone, together, with_jobs, [sockets.get(o) for o in OPERATIONS])


def show(
    table: dict[str, list[float]],
    alone: list[float],
    together: list[float],
    with_jobs: list[float],
    sockets: list[float | None],
) -> None:
    print("microseconds of CPU of one request: alone, and by 16 at a time")
    print(f"{'':<36}" + "".join(f"{o:>15}" for o in OPERATIONS))
    for name, figures in table.items():
        pairs = zip(figures[::2], figures[1::2], strict=True)
        print(f"{name:<36}" + "".join(f"{a:8.1f}{b:7.1f}" for a, b in pairs))
    pairs = zip(alone, together, strict=True)
    print(f"{'all of it, untimed':<36}" + "".join(f"{a:8.0f}{b:7.0f}" for a, b in pairs))
    print(f"{'with jobs (projections, the signer)':<36}" + "".join(f"{f:15.0f}" for f in with_jobs))
    if all(f is not None for f in sockets):
        print(f"{'over sockets':<36}" + "".join(f"{f or 0:15.0f}" for f in sockets))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--requests", type=int, default=1600, help="of each operation and turn")
    wanted = options.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="thane-profile-") as scratch,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(measure(Path(scratch), wanted.requests))


if __name__ == "__main__":
    main()
