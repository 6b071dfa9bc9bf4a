"""How these tests run jobs: one program per tier, and a whole run as one value."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thane.adapters.isolation import IsolationClient
from thane.kernel.ports.isolation import InputFile, Job, Limits, OutputChunk, Sample, Tier, Verdict

MB = 1 << 20
# How many times slower than usual this machine is: emulated ones (`just vm`) are.
SLOWNESS = int(os.environ.get("THANE_TEST_SLOWNESS", "1"))
LIMITS = Limits(memory_bytes=256 * MB, cpu_millicores=1000, disk_bytes=32 * MB, timeout_ms=10_000 * SLOWNESS)
TIERS = (Tier.T2, Tier.T2_MINUS, Tier.T1)  # what jobs get that demand nothing, strongest first
EVERY_TIER = (Tier.T3, *TIERS)
BOUND = 20.0 * SLOWNESS  # seconds that any condition may take before a test says it does not come

_ids = itertools.count(1)


def new_id() -> str:
    return f"job-{os.getpid()}-{next(_ids)}"


def job(code: str | bytes, language: str = "python", **changes: Any) -> Job:
    """A job with the tests' limits; `limits` may be a dict of those that differ."""
    limits = changes.pop("limits", {})
    files = tuple(InputFile(name=name, content=content) for name, content in changes.pop("files", {}).items())
    return Job(
        id=changes.pop("id", None) or new_id(),
        sandbox_id="sbx",
        code=code.encode() if isinstance(code, str) else code,
        language=language,
        limits=Limits(**{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__} | limits),
        files=files,
        **changes,
    )


@dataclass
class Run:
    """Everything that one execution said."""

    stdout: bytes = b""
    stderr: bytes = b""
    chunks: list[OutputChunk] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        assert len(self.verdicts) == 1, "exactly one verdict"
        return self.verdicts[0]

    def take(self, event: object) -> None:
        if isinstance(event, OutputChunk):
            self.chunks.append(event)
            if event.stream == "stdout":
                self.stdout += event.data
            else:
                self.stderr += event.data
        elif isinstance(event, Sample):
            self.samples.append(event)
        elif isinstance(event, Verdict):
            self.verdicts.append(event)

    def __str__(self) -> str:
        return f"{self.verdicts}\nstdout: {self.stdout!r}\nstderr: {self.stderr!r}"


async def run(client: IsolationClient, code: str | bytes, language: str = "python", **changes: Any) -> Run:
    return await run_job(client, job(code, language, **changes))


async def run_job(client: IsolationClient, what: Job) -> Run:
    """Run to the end; its folders are given back unless the job collects."""
    result = Run()
    async for event in client.run(what):
        result.take(event)
    return result


def program_pid(path: Path) -> int:
    """The pid of the isolation program that listens at `path`, as the kernel tells it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(condition: Callable[[], bool], what: str, bound: float = BOUND) -> None:
    deadline = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {bound:g} s"
        time.sleep(0.005)


def remains_of(pid: int) -> list[str]:
    """Folders and control groups of the program with this pid, wherever they are kept."""
    name = f"thane-isolation-{pid}-"
    found: list[str] = []
    for parent in ("/tmp", "/var/tmp", "/dev/shm"):
        found += [str(path) for path in Path(parent).glob(f"{name}*")]
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found += [f"{folder}/{entry}" for entry in names if entry.startswith(name)]
    return found


def family(root: int) -> list[int]:
    """`root` and all its descendants, zombies too."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # ended between two looks
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


class JobProcesses:
    """The processes of jobs on the host: `marker` is in their command lines, but for a guest's.

    Those are runsc's, whose command lines say nothing, so they are found below the isolation
    program and remembered.
    """

    def __init__(self, marker: str, tier: Tier, program: Path) -> None:
        self._marker = marker
        self._program = program if tier == Tier.T3 else None
        self._seen: set[int] = set()

    def alive(self) -> list[int]:
        if self._program is None:
            return processes_with(self._marker)
        try:
            below = family(program_pid(self._program))
        except OSError:
            below = []  # it is gone
        self._seen |= {pid for pid in below if _name(pid) in ("thane-keeper", "runsc", "exe")}
        return [pid for pid in self._seen if is_alive(pid)]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""  # ended between two looks


def processes_with(marker: str) -> list[int]:
    """Living processes whose command line holds `marker`."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # ended between two looks
        if marker.encode() in line and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found
