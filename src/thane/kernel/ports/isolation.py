"""Port to the isolation program: run code that nobody trusts, and say what it used.

Pure types and one protocol. The adapter speaks the program's socket protocol; domains
see only this. Nothing here knows of tenants, records or money.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from thane.kernel.errors import Gone


class Tier(StrEnum):
    """How strong the wall is; see docs/isolation.md. Ordered weakest first by `rank`."""

    T0 = "T0"
    T1 = "T1"
    T2_MINUS = "T2-"
    T2 = "T2"
    T3 = "T3"

    @property
    def rank(self) -> int:
        return list(Tier).index(self)


class SandboxLost(Gone):
    """The jail of a stateful sandbox has ended, and with it its files and its contexts' variables."""

    code = "sandbox_lost"
    title = "The sandbox has lost its state"
    default_hint = "What runs next in it begins anew; put its files there again."


class ContextLost(Gone):
    """A context's interpreter has ended, and with it its variables."""

    code = "context_lost"
    title = "The context has lost its variables"
    default_hint = "What runs next in it begins anew."


def stronger(one: Tier, other: Tier) -> Tier:
    """The one of two demands that asks for more."""
    return max(one, other, key=lambda tier: tier.rank)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one execution may use. All are enforced by the operating system or a watchdog."""

    memory_bytes: int
    cpu_millicores: int
    disk_bytes: int
    timeout_ms: int
    processes: int = 64
    output_bytes: int = 1 << 20  # per stream; beyond it the stream ends with a marker


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """What enforced each limit in one execution: `cgroup2`, `cgroup1`, `rlimit`, `watchdog`, `tmpfs`,
    `affinity`, `clock`, `namespace`, `none`."""

    memory: str
    cpu: str
    disk: str
    timeout: str
    processes: str
    output: str
    network: str


class InputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file put into the workspace before the code starts. `name` is relative, without `..`."""

    name: str
    content: bytes


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """Installed packages that a job sees, from tier T2- on. They are imported inside a jail only.

    `packages` is a folder of this host that everybody may read, `imports` the modules that jails
    in stock import ahead of their job, under its limits; what fails there fails in the job.
    """

    packages: Path
    imports: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. `id` is the intent's id: the program keeps the verdict under it for ten minutes.

    With a `context` it runs in the sandbox's one long-lived jail, which the first such job
    makes with its limits: Python in that context's interpreter, whose variables survive from
    one execution to the next, shell as a command beside it. Executions of a context run in
    order, contexts at the same time; `limits.timeout_ms` and `limits.output_bytes` count for
    each execution, the other limits for the sandbox. Without one it runs in a jail of its own.
    """

    id: str
    sandbox_id: str
    code: bytes
    language: str  # "python" | "shell"
    limits: Limits
    minimum_tier: Tier = Tier.T1
    env: dict[str, str] = {}
    stdin: bytes = b""
    files: tuple[InputFile, ...] = ()
    context: str | None = None
    template: Template | None = None
    share: str = ""  # whose share of the slots it takes: shares are served in turn
    collect: bool = True  # keep the workspace's files for `collect()` until `release()`
    jail: str = ""  # the sandbox's jail, as a verdict named it, that must still be there: else SandboxLost
    continues: bool = False  # the context's interpreter must still be there: else ContextLost
    sample_ms: int = 1000


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """A stateful sandbox, with what it is made of if it does not live. `jail`: as in a Job."""

    sandbox_id: str
    limits: Limits
    minimum_tier: Tier = Tier.T1
    jail: str = ""
    template: Template | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Measured from outside the jail."""

    wall_us: int = 0
    cpu_us: int = 0
    peak_memory_bytes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    network_in_bytes: int = 0
    network_out_bytes: int = 0
    network_in_packets: int = 0
    network_out_packets: int = 0
    workspace_bytes: int = 0


class OutputChunk(msgspec.Struct, frozen=True, tag="output"):
    """Bytes as the program wrote them; `stream` is `stdout` or `stderr`."""

    stream: str
    data: bytes


class Sample(msgspec.Struct, frozen=True, tag="sample"):
    """Use at one moment while the code runs; the first one comes at once. `at_us` is since the start."""

    at_us: int
    usage: Usage
    memory_bytes: int


class Outcome(StrEnum):
    COMPLETED = "completed"  # exit code 0
    FAILED = "failed"  # any other exit code, or killed by a signal
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    CANCELLED = "cancelled"
    HOST_KILLED = "host_killed"  # killed from outside by the host
    HOST_LOST = "host_lost"  # the program does not know what became of it


class ProducedFile(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True, tag="verdict"):
    """How it ended. `message` says what to change where that helps; `refused_files` why a file
    could not be taken out."""

    job_id: str
    outcome: Outcome
    exit_code: int  # 128 + signal when a signal ended it
    signal: int | None
    message: str
    usage: Usage
    tier: Tier
    enforcement: Enforcement
    stdout_truncated: bool
    stderr_truncated: bool
    files: tuple[ProducedFile, ...] = ()
    refused_files: tuple[tuple[str, str], ...] = ()
    files_left_out: int = 0  # beyond the most that are listed
    jail: str = ""  # of the stateful sandbox
    jail_alive: bool = False
    context_alive: bool = False  # whether the context has an interpreter that lives


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a stateful sandbox, as in a Verdict."""

    files: tuple[ProducedFile, ...]
    refused_files: tuple[tuple[str, str], ...] = ()
    files_left_out: int = 0


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A context of a stateful sandbox. One that is not `alive` begins anew with its next execution."""

    name: str
    alive: bool
    executions: int


Progress = OutputChunk | Sample | Verdict


class TierReport(msgspec.Struct, frozen=True, kw_only=True):
    """One rung of the ladder as probed on this machine. `missing` and `remedy` are empty when it works."""

    tier: Tier
    available: bool
    detail: str
    missing: str = ""
    remedy: str = ""


class Isolation(Protocol):
    """The isolation program as the rest of Thane sees it."""

    async def start(self) -> None:
        """Connect, starting the program if nobody has; raises IsolationUnavailable."""

    async def ladder(self, *, on_demand: bool = True) -> tuple[TierReport, ...]:
        """Every tier, probed by really running a snippet under a deadline.

        Without `on_demand` those are left out that only jobs get that demand them, and that take long to try.
        """

    def run(self, job: Job) -> AsyncIterator[Progress]:
        """Output and samples as they come, then exactly one Verdict. Closing the iterator cancels the job."""

    async def cancel(self, job_id: str) -> None:
        """End a running job; its verdict is then `cancelled`. Unknown ids are ignored."""

    async def recall(self, job_id: str) -> Verdict | None:
        """The verdict of a job whose connection was lost; None if unknown (host_lost)."""

    async def collect(self, job_id: str, into: Path) -> tuple[ProducedFile, ...]:
        """Copy the job's produced regular files below `into` by the safe rules."""

    async def release(self, job_id: str) -> None:
        """Forget the job's workspace."""

    async def contexts(self, sandbox_id: str) -> tuple[Context, ...]:
        """The contexts of a stateful sandbox. Raises NotFound if it does not live."""

    async def end_context(self, sandbox_id: str, context: str) -> None:
        """End a context's interpreter, with what runs in it; its next execution begins anew.
        Raises NotFound."""

    async def idle(self) -> dict[str, float]:
        """This server's stateful sandboxes, and for how many seconds nothing has run in each."""

    async def close_sandbox(self, sandbox_id: str) -> None:
        """End a stateful sandbox with all its contexts and files. Unknown ids are ignored."""

    async def raise_memory(self, job_id: str, memory_bytes: int) -> bool:
        """Let a running job, or the sandbox that it runs in, have more memory; False if it does not run."""

    async def write_file(self, home: Home, name: str, content: bytes) -> str:
        """Put a file into a stateful sandbox, which is made if it does not live; answers its jail.
        Raises SandboxLost, Invalid."""

    async def read_file(self, sandbox_id: str, jail: str, name: str) -> bytes:
        """A file of a stateful sandbox. Raises SandboxLost, NotFound, Invalid for what is no plain file."""

    async def list_files(self, sandbox_id: str, jail: str, folder: str = "") -> Listing:
        """The files of a stateful sandbox, below a folder. Raises SandboxLost."""

    async def remove_file(self, sandbox_id: str, jail: str, name: str) -> None:
        """Remove a file, or a folder with what is in it. Raises SandboxLost, NotFound."""

    async def close(self) -> None:
        """Leave; the program kills what this server still runs and ends 10 s after its last client."""
