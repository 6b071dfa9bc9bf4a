"""Runs the table's programs through the isolation port, several at once, and keeps what became of each."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
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
from thane.kernel.errors import Invalid
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
SLOTS = AT_ONCE + 2  # two more for the neighbours
_SYSTEM_FOLDER = "/usr/lib"
_BOUND = 120.0
_NEIGHBOUR_PORTS = (45_450, 45_451)  # of a jail's program, and of a context in a stateful sandbox
_ids = itertools.count(1)

# A good jail beside the hostile ones: it holds a secret and looks whether anybody has come to it.
_NEIGHBOUR = """
import os, signal, socket, time
def listening():
    for make in (lambda: socket.create_server(("127.0.0.1", int(os.environ["PORT"]))), abstract):
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
    sizes: dict[str, int] = field(default_factory=dict)
    collected: tuple[ProducedFile, ...] = ()
    sequel: bytes | None = None
    error: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.verdict}\nstdout: {self.stdout[:2000]!r}\nstderr: {self.stderr[:2000]!r}\n{self.error}"


def make_job(program: Program, values: dict[str, object], mark: str, source: str | None = None) -> Job:
    limits = {name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__} | dict(program.limits)
    told = {f"H_{name}": str(value) for name, value in values.items()} if program.language == "shell" else {}
    number = next(_ids)
    files = dict(program.files)
    if program.package:
        files["evil/__init__.py"] = program.text(values, program.package).encode()
    return Job(
        id=f"hostile-{os.getpid()}-{number}",
        sandbox_id=f"sbx-hostile-{number}",
        context="main" if program.stateful else None,
        code=program.text(values, source).encode(),
        language=program.language,
        limits=Limits(**limits),
        env={"THANE_HOSTILE": mark, **told, **program.env, **({"SEQUEL": "sequel"} if source else {})},
        stdin=program.stdin,
        files=tuple(InputFile(name=name, content=content) for name, content in files.items()),
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
        try:
            result.collected = await client.collect(job.id, into)
        except Invalid as error:
            # In a living sandbox a file may be another by now; then it is refused, and so is the rest.
            if job.context is None or "cannot be taken out" not in str(error):
                raise
        for path in into.rglob("*"):
            result.sizes[str(path.relative_to(into))] = path.lstat().st_size
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
            if program.stateful and program.collects:
                await _collect(client, job, canary, result)
            if program.stateful:
                await client.close_sandbox(job.sandbox_id)
            left = await _gone(canary)
            if left:
                result.touched.append(f"processes are left: {left}")
            if program.collects and not program.stateful:
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
class _Neighbour:
    job: Job
    living: asyncio.Task[None]


@dataclass
class Batch:
    """All that was asked for, on one tier."""

    results: dict[str, Result] = field(default_factory=dict)
    neighbours: list[Result] = field(default_factory=list)  # a jail, and where there are such a sandbox
    survived: bool = False  # the isolation program is the one it was
    seconds: float = 0.0


async def _move_in(client: IsolationClient, batch: Batch, values: list[str], *, stateful: bool) -> _Neighbour:
    """A neighbour that lives and has said so."""
    mark, secrets = values
    port = _NEIGHBOUR_PORTS[stateful]
    limits = Limits(
        memory_bytes=LIMITS.memory_bytes, cpu_millicores=500, disk_bytes=1 << 20, timeout_ms=900_000
    )
    job = Job(
        id=f"neighbour-{os.getpid()}-{next(_ids)}",
        sandbox_id="sbx-neighbour",
        code=_NEIGHBOUR.encode(),
        language="python",
        limits=limits,
        context="main" if stateful else None,
        env={"SECRETS": secrets, "MARK": f"{mark}-{port}", "PORT": str(port)},
        collect=False,
    )
    result = Result()
    batch.neighbours.append(result)
    living = asyncio.create_task(run_job(client, job, result))
    async with asyncio.timeout(_BOUND):
        while not result.stdout and not living.done():
            await asyncio.sleep(0.01)
    return _Neighbour(job, living)


async def run_batch(
    client: IsolationClient, socket_path: Path, programs: list[Program], *, alone: bool, stateful: bool
) -> Batch:
    """Eight at a time, each with canaries of its own, beside neighbours that must not notice.

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
        "neighbours": [(f"neighbour-{canaries[0].mark}-{port}", port) for port in _NEIGHBOUR_PORTS],
    }
    values = [canaries[0].mark, secrets]
    neighbours = [
        await _move_in(client, batch, values, stateful=kind)
        for kind in ((False, True) if stateful else (False,))
    ]
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
        for neighbour in neighbours:
            if not neighbour.living.done():
                await client.cancel(neighbour.job.id)
            await neighbour.living
        await client.close_sandbox("sbx-neighbour")
        batch.survived = program_pid(socket_path) == pid
    finally:
        for neighbour in neighbours:
            neighbour.living.cancel()
        for canary in canaries:
            canary.close()
    batch.seconds = time.monotonic() - began
    return batch


def complaints(program: Program, tier: Tier, result: Result, *, as_root: bool) -> list[str]:
    """Everything about one run that is not as the table says; empty if all is."""
    expect = program.expected(tier, as_root=as_root)
    if expect.job_refused:
        refused = re.search(expect.job_refused, result.error) and result.verdict is None
        return [] if refused else [f"the job was not refused for {expect.job_refused!r}: {result}"]
    if result.error:
        return [result.error]
    if result.verdict is None:
        return ["there is no verdict"]
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
    disk = program.limits.get("disk_bytes", LIMITS.disk_bytes)
    found += [f"{name} came out with {size} bytes" for name, size in result.sizes.items() if size > disk]
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


def is_well(neighbour: Result) -> bool:
    """Whether it lived until it was told to end."""
    verdict = neighbour.verdict
    return verdict is not None and verdict.outcome == Outcome.CANCELLED and neighbour.stdout == b"there\n"
