"""Runs the table's programs through the isolation port, several at once, and keeps what became of each."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import struct
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.canary import Canary, Visitor
from tests.hostile.rows import LIMITS, Program
from thane.adapters.isolation import IsolationClient
from thane.kernel.ports.isolation import (
    InputFile,
    Job,
    Limits,
    Outcome,
    OutputChunk,
    ProducedFile,
    Sample,
    Tier,
    Verdict,
)

AT_ONCE = 8
SLOTS = AT_ONCE + 1  # one more for the neighbour
_SYSTEM_FOLDER = "/usr/lib"
_BOUND = 120.0
_NEIGHBOUR_PORT = 45_450
_ids = itertools.count(1)

# A good jail beside the hostile ones: it holds a secret and looks whether anybody has come to it.
_NEIGHBOUR = f"""
import os, signal, socket, time
def listening():
    for make in (lambda: socket.create_server(("127.0.0.1", {_NEIGHBOUR_PORT})), abstract):
        try: made = make()
        except OSError: continue  # tier T1 has no sockets
        made.setblocking(False)
        yield made
def abstract():
    made = socket.socket(socket.AF_UNIX); made.bind("\\0neighbour-" + os.environ["MARK"]); made.listen()
    return made
open("secret-of-another-jail", "w").write(os.environ["SECRETS"])
listeners = list(listening())
print("there", flush=True)
while True:
    if open("secret-of-another-jail").read() != os.environ["SECRETS"]: raise SystemExit("my file was changed")
    if os.listdir(".") != ["secret-of-another-jail"]: raise SystemExit("somebody put a file here")
    for listener in listeners:
        try: listener.accept()
        except BlockingIOError: continue
        raise SystemExit("somebody came")
    time.sleep(0.05)
"""


@dataclass
class Result:
    """What one program did on one tier, as far as the port tells, and what became of the host."""

    verdict: Verdict | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    touched: list[str] = field(default_factory=list)
    secret_out: list[str] = field(default_factory=list)  # collected files that hold the host's secret
    modes: dict[str, int] = field(default_factory=dict)
    collected: tuple[ProducedFile, ...] = ()
    sequel: bytes | None = None
    error: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.verdict}\nstdout: {self.stdout[:2000]!r}\nstderr: {self.stderr[:2000]!r}\n{self.error}"


def make_job(program: Program, values: dict[str, object], mark: str, source: str | None = None) -> Job:
    limits = {name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__} | dict(program.limits)
    told = {f"H_{name}": str(value) for name, value in values.items()} if program.language == "shell" else {}
    return Job(
        id=f"hostile-{os.getpid()}-{next(_ids)}",
        sandbox_id="sbx-hostile",
        code=program.text(values, source).encode(),
        language=program.language,
        limits=Limits(**limits),
        env={"THANE_HOSTILE": mark, **told, **program.env, **({"SEQUEL": "sequel"} if source else {})},
        stdin=program.stdin,
        files=tuple(InputFile(name=name, content=content) for name, content in program.files.items()),
        collect=program.collects and source is None,
    )


async def run_job(client: IsolationClient, job: Job, result: Result) -> None:
    async for event in client.run(job):
        if isinstance(event, OutputChunk):
            if event.stream == "stdout":
                result.stdout += event.data
            else:
                result.stderr += event.data
        elif isinstance(event, Verdict):
            assert result.verdict is None, "exactly one verdict"
            result.verdict = event
        else:
            assert isinstance(event, Sample)


def program_pid(path: Path) -> int:
    """Who listens there, as the kernel tells it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", told)[0]
    return pid


async def _collect(client: IsolationClient, job: Job, canary: Canary, result: Result) -> None:
    into = Path(tempfile.mkdtemp(prefix="hostile-collected-"))
    try:
        result.collected = await client.collect(job.id, into)
        for path in into.rglob("*"):
            result.modes[str(path.relative_to(into))] = path.lstat().st_mode
            if path.is_symlink() or canary.secret.encode() in (path.read_bytes() if path.is_file() else b""):
                result.secret_out.append(str(path.relative_to(into)))
    finally:
        await client.release(job.id)
        shutil.rmtree(into)


async def _gone(canary: Canary) -> list[int]:
    """Processes with the canary's mark that are still there when they have had time to be gone."""
    deadline = time.monotonic() + 5
    while (left := canary.left_processes()) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return left


async def run_program(
    client: IsolationClient, program: Program, canary: Canary, extra: dict[str, object]
) -> Result:
    result = Result()
    values = {**canary.values, **extra}
    job = make_job(program, values, canary.mark)
    began = time.monotonic()
    visitor = Visitor(canary.values["free_port"]) if program.visited else None
    try:
        async with asyncio.timeout(_BOUND):
            await run_job(client, job, result)
            left = await _gone(canary)
            if left:
                result.touched.append(f"processes are left: {left}")
            if program.collects:
                await _collect(client, job, canary, result)
            if program.sequel:
                after = Result()
                sequel = make_job(program, values, canary.mark, program.sequel)
                await run_job(client, sequel, after)
                result.sequel = after.stdout
    except Exception as error:  # noqa: BLE001  # kept for the one test that asks for this program
        result.error = f"{type(error).__name__}: {error}"
    if visitor is not None and visitor.stop():
        result.touched.append("a port of the host was opened")
    result.touched += canary.touched()
    result.seconds = time.monotonic() - began
    return result


@dataclass
class Batch:
    """All that was asked for, on one tier."""

    results: dict[str, Result] = field(default_factory=dict)
    neighbour: Result = field(default_factory=Result)
    survived: bool = False  # the isolation program is the one it was
    seconds: float = 0.0


async def run_batch(
    client: IsolationClient, socket_path: Path, programs: list[Program], *, alone: bool
) -> Batch:
    """Eight at a time, each with canaries of its own, beside a neighbour that must not notice.

    With `alone`, those that make as many processes as they can are run before the others, one by one.
    """
    batch = Batch()
    began = time.monotonic()
    await client.start()
    pid = program_pid(socket_path)
    canaries = [Canary(_SYSTEM_FOLDER) for _ in range(min(AT_ONCE, len(programs)))]
    secrets = " ".join(canary.secret for canary in canaries)
    extra: dict[str, object] = {
        "isolation_socket": str(socket_path),
        "isolation_pid": pid,
        "neighbour": canaries[0].mark,
        "neighbour_port": _NEIGHBOUR_PORT,
    }
    neighbour = Job(
        id=f"neighbour-{os.getpid()}-{next(_ids)}",
        sandbox_id="sbx-neighbour",
        code=_NEIGHBOUR.encode(),
        language="python",
        limits=Limits(
            memory_bytes=LIMITS.memory_bytes, cpu_millicores=500, disk_bytes=1 << 20, timeout_ms=900_000
        ),
        env={"SECRETS": secrets, "MARK": canaries[0].mark},
        collect=False,
    )
    living = asyncio.create_task(run_job(client, neighbour, batch.neighbour))
    async with asyncio.timeout(_BOUND):
        while not batch.neighbour.stdout and not living.done():
            await asyncio.sleep(0.01)
    # The slowest first, so that none of them is alone at the end.
    waiting = sorted(programs, key=lambda program: program.limits.get("timeout_ms", 0) == 0)

    async def work(index: int) -> None:
        while waiting:
            program = waiting.pop(0)
            result = batch.results[program.name] = await run_program(client, program, canaries[index], extra)
            if result.touched:  # the next program is not to answer for it
                canaries[index].close()
                canaries[index] = Canary(_SYSTEM_FOLDER)

    try:
        if alone:  # the kernel counts all of the user's processes against each jail's limit
            waiting, together = [program for program in waiting if program.crowds], waiting
            await work(0)
            waiting = [program for program in together if not program.crowds]
        await asyncio.gather(*(work(index) for index in range(len(canaries))))
        if not living.done():
            await client.cancel(neighbour.id)
        await living
        batch.survived = program_pid(socket_path) == pid
    finally:
        living.cancel()
        for canary in canaries:
            canary.close()
    batch.seconds = time.monotonic() - began
    return batch


def complaints(program: Program, tier: Tier, result: Result, *, as_root: bool) -> list[str]:
    """Everything about one run that is not as the table says; empty if all is."""
    if result.error:
        return [result.error]
    if result.verdict is None:
        return ["there is no verdict"]
    expect = program.expected(tier, as_root=as_root)
    found = expect.complaints(result.verdict, result.stdout)
    if result.verdict.tier != tier:
        found.append(f"it ran on {result.verdict.tier}")
    found += [f"the host: {what}" for what in result.touched]
    found += [f"a secret of the host came out as {name}" for name in result.secret_out]
    if expect.files is not None and (names := tuple(file.name for file in result.collected)) != expect.files:
        found.append(f"the files are {names} and not {expect.files}")
    for name, reason in expect.refused:
        if not any(name in refused and reason in why for refused, why in result.verdict.refused_files):
            found.append(f"{name!r} was not refused for {reason!r}: {result.verdict.refused_files[:5]}")
    found += [f"{name} came out with mode {mode:o}" for name, mode in result.modes.items() if mode & 0o7000]
    if (
        program.sequel
        and result.sequel is not None
        and b"NOTHING" not in result.sequel
        and b"DENIED" not in result.sequel
    ):
        found.append(f"the next jail found what was left: {result.sequel!r}")
    if result.verdict.usage.peak_memory_bytes > 4 * (LIMITS.memory_bytes):
        found.append(f"it used {result.verdict.usage.peak_memory_bytes} bytes of memory")
    return found


def neighbour_is_well(batch: Batch) -> bool:
    verdict = batch.neighbour.verdict
    return (
        verdict is not None and verdict.outcome == Outcome.CANCELLED and batch.neighbour.stdout == b"there\n"
    )
