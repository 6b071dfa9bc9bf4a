"""How fast the isolation port is, against plain unjailed Python, in one run.

    uv run --no-sync python benchmarks/isolation.py [--rounds N] [--stock N] [--tier T2] [--import pandas]

Everything runs on the same machine in the same minutes, turn by turn, so that load
meets all alike. Peers are plain `python3 -c` and, where they are installed, bwrap,
nsjail and `runsc do`; of those that are not, it says what brings them. Tier T3 is
measured beside its peer. With `--import` it installs that package with uv (which needs a
network, or uv's cache) and measures importing it, from a template's stock against a
cold plain interpreter. It prints settings, figures and ratios, and judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from thane.adapters.isolation import IsolationClient
from thane.adapters.uv import UvPackages
from thane.kernel.ports.isolation import Job, Limits, OutputChunk, Template, Tier, Verdict

MB = 1 << 20
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
CODE = "print(1)"
LIMITS = Limits(memory_bytes=256 * MB, cpu_millicores=2000, disk_bytes=32 * MB, timeout_ms=30_000)
AT_ONCE = 16


class Clock:
    """Milliseconds of each call, by name."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}

    def note(self, name: str, seconds: float) -> None:
        self.found.setdefault(name, []).append(seconds * 1000)

    def median(self, name: str) -> float:
        return statistics.median(self.found[name])

    def show(self, name: str) -> str:
        found = sorted(self.found[name])
        return f"p50 {statistics.median(found):8.2f} ms   p95 {found[int(len(found) * 0.95) - 1]:8.2f} ms"


class Port:
    """The isolation port as a benchmark uses it."""

    def __init__(self, client: IsolationClient) -> None:
        self.client = client
        self._count = 0

    async def run(
        self,
        context: str | None = None,
        sandbox: str = "bench",
        template: Template | None = None,
        code: str = CODE,
        tier: Tier = Tier.T1,
    ) -> tuple[float, float, Verdict]:
        """Seconds to the first output and to the verdict."""
        self._count += 1
        job = Job(
            id=f"bench-{os.getpid()}-{self._count}",
            sandbox_id=sandbox,
            code=code.encode(),
            language="python",
            limits=LIMITS,
            context=context,
            minimum_tier=tier,
            template=template,
            collect=False,
        )
        began, first, verdict = time.perf_counter(), 0.0, None
        async for event in self.client.run(job):
            if isinstance(event, OutputChunk) and not first:
                first = time.perf_counter() - began
            elif isinstance(event, Verdict):
                verdict = event
        assert verdict is not None
        assert verdict.exit_code == 0, verdict
        return first, time.perf_counter() - began, verdict


async def process(*command: str, path: Path | None = None) -> float:
    environment = {"PATH": os.defpath} | ({"PYTHONPATH": str(path)} if path is not None else {})
    began = time.perf_counter()
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment
    )
    out, _ = await running.communicate()
    assert out == b"1\n", f"{command[0]} did not run: {out!r}"
    return time.perf_counter() - began


_BRINGS = {
    "bwrap": "apt-get install bubblewrap",
    "nsjail": "Debian 12 has no package of it; build it from source",
    "runsc": "apt-get install runsc",
}


def missing_peers() -> list[str]:
    """A line for each peer that is not here."""
    return [
        f"{name} is not installed: {command}" for name, command in _BRINGS.items() if not shutil.which(name)
    ]


def peers() -> dict[str, tuple[str, ...]]:
    """What is installed, with the command that runs the snippet as nearly the same way as it can."""
    found: dict[str, tuple[str, ...]] = {"plain": (PYTHON, "-c", CODE)}
    if bwrap := shutil.which("bwrap"):
        walls = (
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--unshare-all",
            "--die-with-parent",
        )
        found["bwrap"] = (bwrap, *walls, PYTHON, "-c", CODE)
    if nsjail := shutil.which("nsjail"):
        found["nsjail"] = (nsjail, "-q", "-Mo", "--chroot", "/", "--", PYTHON, "-c", CODE)
    if runsc := shutil.which("runsc"):
        rootless = () if os.getuid() == 0 else ("--rootless",)
        found["runsc"] = (runsc, *rootless, "--network=none", "do", PYTHON, "-c", CODE)
    return found


async def saturate(count: int, call: Callable[[], Awaitable[object]]) -> float:
    """Executions per second with `AT_ONCE` of them at a time."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


def private_memory(pids: list[int]) -> float:
    """Megabytes that only these processes use, by smaps_rollup."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                total += int(line.split()[1])
    return total / 1024


def below(parent: int, name: str) -> list[list[int]]:
    """Each child of `parent` named `name`, with all its descendants."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                before, _, after = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue  # ended between two looks
            parents[int(entry.name)] = (int(after.split()[1]), before.partition("(")[2])
    found = []
    for pid, (above, called) in parents.items():
        if above == parent and called == name:
            family = [pid]
            for member in family:
                family += [other for other, (its, _) in parents.items() if its == member]
            found.append(family)
    return found


async def program_pid(path: Path) -> int:
    import socket
    import struct

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", told)[0])


async def measure(port: Port, no_stock: Port, rounds: int, clock: Clock) -> dict[str, float]:
    others = dict(peers())
    for line in missing_peers():
        print(f"  {line}")
    for name, command in list(others.items()):
        try:
            await process(*command)
        except (AssertionError, OSError) as error:
            print(f"  {name} is installed and does not run here: {error}")
            del others[name]
    guests = any(report.tier == Tier.T3 and report.available for report in await port.client.ladder())
    await port.run()
    await no_stock.run()
    for _ in range(rounds):
        for name, command in others.items():
            clock.note(name, await process(*command))
        _, whole, _ = await no_stock.run()
        clock.note("fresh jail", whole)
        first, whole, _ = await port.run()
        clock.note("pre-forked, first output", first)
        clock.note("pre-forked, verdict", whole)
        if guests:
            first, whole, _ = await port.run(tier=Tier.T3)
            clock.note("T3, first output", first)
            clock.note("T3, verdict", whole)
    await port.run(context="c")
    for _ in range(rounds * 5):
        first, whole, _ = await port.run(context="c")
        clock.note("stateful cell", whole)
    count = max(50, rounds * 2)
    rates = {"plain": 0.0, "thane": 0.0}
    for _ in range(2):  # turn by turn, and the better of two
        rates["plain"] = max(rates["plain"], await saturate(count, lambda: process(*others["plain"])))
        rates["thane"] = max(rates["thane"], await saturate(count, port.run))
    return rates


async def measure_import(port: Port, name: str, folder: Path, rounds: int, clock: Clock) -> float:
    """The ratio of `import NAME` in a jail from a template's stock to a cold plain interpreter's."""
    packages = await UvPackages(folder / "packages").install((name,))
    template, code = Template(packages=packages, imports=(name,)), f"import {name}; print(1)"
    await process(PYTHON, "-c", code, path=packages)
    await port.run(template=template, code=code)
    for _ in range(rounds):
        cold = await process(PYTHON, "-c", code, path=packages)
        clock.note(f"plain, import {name}", cold)
        _, whole, _ = await port.run(template=Template(packages=packages), code=code)
        clock.note(f"jail, import {name}", whole)
        # The next one is being made ahead; it has this long, as an idle server has.
        await asyncio.sleep(4 * cold)
        _, whole, _ = await port.run(template=template, code=code)
        clock.note(f"template, import {name}", whole)
    return clock.median(f"template, import {name}") / clock.median(f"plain, import {name}")


async def main(arguments: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(prefix="thane-bench-"))
    more = ("--idle", "1", *(("--force-tier", arguments.tier) if arguments.tier else ()))

    def client(name: str, stock: int) -> IsolationClient:
        wanted = (*more, "--stock", str(stock))
        return IsolationClient(
            folder / f"{name}.sock", folder / f"{name}.log", 2, name, program_arguments=wanted
        )

    stocked, bare = client("stocked", arguments.stock), client("bare", 0)
    clock = Clock()
    port = Port(stocked)
    _, _, verdict = await port.run()
    print(f"tier {verdict.tier}, enforced by {verdict.enforcement}")
    print(
        f"{len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}, uid {os.getuid()},"
        f" Linux {os.uname().release}"
    )
    print(
        f"{arguments.rounds} rounds, {arguments.stock} jails in stock, 2 slots, {AT_ONCE} at once, {LIMITS}"
    )
    rates = await measure(port, Port(bare), arguments.rounds, clock)
    print(f"  saturated: plain {rates['plain']:.1f}/s, thane {rates['thane']:.1f}/s")
    program = await program_pid(folder / "stocked.sock")
    zygote = private_memory([family[0] for family in below(program, "thane-zygote")])
    await stocked.close_sandbox("bench")
    before = {tuple(family) for family in below(program, "thane-jail")}
    await port.run(context="c", sandbox="idle")
    # What is new is the sandbox: the stock was there before.
    fresh = [family for family in below(program, "thane-jail") if tuple(family) not in before]
    idle = max((private_memory(family) for family in fresh), default=float("nan"))
    imported = float("nan")
    if arguments.package:  # last: its jails are not to be taken for the idle sandbox
        imported = await measure_import(port, arguments.package, folder, arguments.rounds // 3 or 1, clock)
    for name in clock.found:
        print(f"  {name:26} {clock.show(name)}")
    plain = clock.median("plain")
    rows: tuple[tuple[str, float, str], ...] = (
        ("fresh jail / plain", clock.median("fresh jail") / plain, "<= 0.6"),
        ("pre-forked verdict / plain", clock.median("pre-forked, verdict") / plain, "<= 0.6"),
        ("first output, ms", clock.median("pre-forked, first output"), "<= 2"),
        ("saturated / plain", rates["thane"] / rates["plain"], ">= 1.6"),
        ("stateful cell, ms", clock.median("stateful cell"), "<= 0.5"),
        ("idle zygote, MB private", zygote, "<= 25"),
        ("idle stateful sandbox, MB private", idle, "<= 15"),
    )
    if arguments.package:
        rows += ((f"import {arguments.package}, template / plain", imported, "<= 0.15"),)
    for name, value, goal in rows:
        operator, bound = goal.split()
        reached = value <= float(bound) if operator == "<=" else value >= float(bound)
        print(f"{name:36} {value:8.2f}   goal {goal:7} {'reached' if reached else 'NOT reached'}")
    for each in (stocked, bare):
        await each.close()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--stock", type=int, default=2)
    parser.add_argument("--import", dest="package", default="", help="a package, such as pandas")
    parser.add_argument("--tier", default="", choices=("", "T2", "T2-"))
    asyncio.run(main(parser.parse_args()))
