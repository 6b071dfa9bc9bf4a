"""The HTTP service against PocketBase, in one run.

    uv run --group peers python -m benchmarks.service [--rounds N] [--seconds S]

Both servers run on this machine, one process each, over the same rows with the same
indexes. The rounds are interleaved, turn by turn, so that load meets both alike; what is
shown is the median of them. Whatever Thane does for a request in earnest is on, which is
shown by its effects; if one is missing, there is no ratio. It judges nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from benchmarks.service.load import Found, load, require
from benchmarks.service.pocketbase import PocketBase
from benchmarks.service.server import BATCH, SEEDED, Server
from benchmarks.service.thane import Thane, run_once
from benchmarks.service.usage import cpu_seconds, family, memory_mb, pages_per_commit

CONNECTIONS = (1, 16, 64)
OPERATIONS = ("get", "list", "list, total", "create", "update")
WRITES = ("create", "update")
# The goals: times PocketBase's throughput at 16 and 64 connections; at one; and its CPU at 16.
GOALS = {"get": 2.0, "list": 2.0, "list, total": 2.0, "create": 1.5, "update": 1.5}
ALONE, CPU, FULL, BATCHES = 0.8, 0.4, 1.2, 10.0

Cell = tuple[str, str, int]  # server, operation, connections


class Taken(NamedTuple):
    found: Found
    cpu_us: float
    pages: float


class Bench:
    def __init__(self, home: Path, seconds: int) -> None:
        self.peer, self.thane = PocketBase(home), Thane(home)
        self.full = Thane(home, durability="full")
        self.seconds = seconds
        self.taken: defaultdict[Cell, list[Taken]] = defaultdict(list)
        self.batches: defaultdict[str, list[float]] = defaultdict(list)
        self.answered: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def one(self, server: Server, operation: str, connections: int) -> None:
        pid = server.process.pid
        before = cpu_seconds(pid)
        found = load(server.url, server.requests[operation], connections, self.seconds)
        cpu = (cpu_seconds(pid) - before) * 1e6 / found.requests
        pages = pages_per_commit(server.wal)[0] if operation in WRITES else 0.0
        self.taken[server.name, operation, connections].append(Taken(found, cpu, pages))
        counted = self.answered[server.name]
        counted[operation] = counted.get(operation, 0) + found.requests

    def round(self, number: int, operations: tuple[str, ...], connections: tuple[int, ...]) -> None:
        for operation in operations:
            for count in connections:
                servers: list[Server] = [self.peer, self.thane]
                if operation in WRITES and count == 16:
                    servers.append(self.full)
                for server in servers[:: 1 if number % 2 else -1]:
                    self.one(server, operation, count)
        for server in (self.peer, self.thane):
            self.batches[server.name].append(server.batch())

    def middle(self, server: Server, operation: str, connections: int) -> Taken:
        """The median of each figure."""
        taken = self.taken[server.name, operation, connections]
        found = Found(*(statistics.median(values) for values in zip(*(t.found for t in taken), strict=True)))
        return Taken(
            found, statistics.median(t.cpu_us for t in taken), statistics.median(t.pages for t in taken)
        )


def rate(taken: Taken) -> float:
    return taken.found.requests / taken.found.seconds


def line(name: str, peer: Taken, own: Taken, goal: float, cpu_goal: float | None) -> str:
    ratio, cpu = rate(own) / rate(peer), own.cpu_us / peer.cpu_us
    verdict = "" if ratio >= goal else f"  below {goal:g} x"
    if cpu_goal is not None and cpu > cpu_goal:
        verdict += f"  CPU above {cpu_goal:g} x"

    def shown(taken: Taken) -> str:
        f = taken.found
        pages = f"{taken.pages:5.1f}" if taken.pages else "    -"
        return f"{rate(taken):7.0f}/s {f.p50:6.2f} {f.p95:6.2f} {f.p99:7.2f} {taken.cpu_us:6.0f} {pages}"

    return f"{name:<17} | {shown(peer)} | {shown(own)} | {ratio:5.2f} {cpu:5.2f}{verdict}"


def table(bench: Bench, operations: tuple[str, ...], connections: tuple[int, ...]) -> None:
    columns = "  rate       p50    p95     p99  CPU us pages"
    print(f"{'':<17} | {'PocketBase':<{len(columns)}} | {'Thane':<{len(columns)}} |  times PocketBase")
    print(f"{'':<17} |{columns} |{columns} |  rate   CPU")
    for operation in operations:
        for count in connections:
            goal = ALONE if count == 1 else GOALS[operation]
            own, peer = (bench.middle(server, operation, count) for server in (bench.thane, bench.peer))
            print(line(f"{operation} @{count}", peer, own, goal, CPU if count == 16 else None))
            if operation in WRITES and count == 16:
                full = bench.middle(bench.full, operation, count)
                print(line(f"{operation} @{count} full", peer, full, FULL, None))
    seconds = [statistics.median(bench.batches[server.name]) for server in (bench.peer, bench.thane)]
    rates = [BATCH / s for s in seconds]
    print(
        f"{'batch of ' + str(BATCH):<17} | {rates[0]:7.0f} rows/s in {seconds[0] * 1000:.0f} ms | "
        f"{rates[1]:7.0f} rows/s in {seconds[1] * 1000:.0f} ms | {rates[1] / rates[0]:5.2f}"
        f"{'' if rates[1] / rates[0] >= BATCHES else f'  below {BATCHES:g} x'}"
    )


def first_minutes(bench: Bench, home: Path) -> None:
    """What a person waits for and what lies idle."""
    alone = home / "alone"
    run_once(alone)
    took = statistics.median(run_once(alone) for _ in range(5))
    rss, pss = memory_mb(family(bench.thane.process.pid))
    rss_peer, _ = memory_mb(family(bench.peer.process.pid))
    print(f"first answer: thane {bench.thane.first_answer:.2f} s (at most 1.0), ", end="")
    print(f"PocketBase {bench.peer.first_answer:.2f} s")
    print(f"idle with the isolation program: thane {rss:.0f} MB resident, {pss:.0f} MB its share ", end="")
    print(f"(at most 120), PocketBase {rss_peer:.0f} MB")
    print(f"thane run -c 'print(1)' as a whole process: {took:.2f} s (at most 0.7)")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=2, help="of each stretch of load")
    options.add_argument("--only", default=",".join(OPERATIONS).replace("list, total", "total"))
    options.add_argument("--connections", default=",".join(map(str, CONNECTIONS)))
    wanted = options.parse_args()
    require()
    names = {"total": "list, total"}
    operations = tuple(names.get(name, name) for name in wanted.only.split(","))
    connections = tuple(int(c) for c in wanted.connections.split(","))
    with tempfile.TemporaryDirectory(prefix="thane-bench-") as scratch:
        measure(Path(scratch), wanted.rounds, wanted.seconds, operations, connections)


def measure(
    home: Path, rounds: int, seconds: int, operations: tuple[str, ...], connections: tuple[int, ...]
) -> None:
    bench = Bench(home, seconds)
    servers: list[Server] = [bench.peer, bench.thane, bench.full]
    started: list[Server] = []
    try:
        for server in servers:
            server.start()
            started.append(server)
        first_minutes(bench, home)
        for server in servers:
            server.seed()
            print(f"{server.name}: " + "; ".join(server.settings()))
        stages = {f"{s.name}: {k}": v for s in (bench.thane, bench.full) for k, v in s.stages().items()}
        for number in range(rounds):
            bench.round(number, operations, connections)
    finally:
        for server in started:
            server.stop()
    for own in (bench.thane, bench.full):
        stages |= {f"{own.name}: {k}": v for k, v in own.kept(bench.answered[own.name]).items()}
    for name, there in stages.items():
        print(f"  {'on ' if there else 'OFF'}  {name}")
    if not all(stages.values()):
        raise SystemExit("a stage is off: there is no ratio")
    now = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{SEEDED} rows at first; {rounds} rounds of {seconds} s; {os.cpu_count()} cores, load {now}")
    table(bench, operations, connections)


if __name__ == "__main__":
    main()
