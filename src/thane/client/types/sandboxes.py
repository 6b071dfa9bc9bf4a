"""What answers and requests are made of: sandboxes.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from thane.client.types.common import LedgerPlace

AlertAction: TypeAlias = Literal["notify", "raise_limit", "stop"]


ContextState: TypeAlias = Literal["created", "live"]


ContextStatus: TypeAlias = Literal["created", "live", "lost"]


ExecutionStatus: TypeAlias = Literal["queued", "running", "completed", "failed", "timeout", "cancelled"]


MetricSource: TypeAlias = Literal["sampler", "api"]


SandboxStatus: TypeAlias = Literal["created", "starting", "running", "stopped", "error", "terminated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingInfo:
    """What it cost."""

    compute_units: Decimal = Decimal(0)
    cost_usd: Decimal = Decimal(0)
    billing_tier: str = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextList:
    """The contexts of a sandbox."""

    items: list[ContextView]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextResult:
    """What became of a context. `was_alive`: it had an interpreter; `failed`: why that lives on."""

    name: str
    sandbox_id: str
    was_alive: bool
    failed: str | None
    ledger: LedgerPlace | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextView:
    """A context; `executions` are those of its interpreter so far."""

    name: str
    sandbox_id: str
    status: ContextStatus
    executions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardData:
    """What is going on: sandboxes created or running, the last ten executions of 24 hours, their totals."""

    sandboxes: list[Sandbox]
    recent_executions: list[Execution]
    usage_today: UsageToday


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One program that ran, or is running. Code is searchable."""

    version: int = 0
    id: str
    tenant_id: str
    project_id: str
    sandbox_id: str
    user_id: str
    run_id: str | None = None
    context: str | None = None
    code: str
    language: str
    status: ExecutionStatus = "queued"
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: int | None = None
    output: ExecutionOutput | None = None
    error: ExecutionError | None = None
    resource_usage: ResourceUsage | None = None
    billing_info: BillingInfo | None = None
    isolation: IsolationInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionChunk:
    """Output as it came, byte for byte, at most 64 KB a row; kept a day after the execution."""

    version: int = 0
    id: str
    tenant_id: str
    execution_id: str
    seq: int
    stream: str
    data: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionError:
    """Why it did not complete. `message` says what to change where that helps."""

    error_type: str
    message: str
    stack_trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOutput:
    """What came out. Bytes that are no UTF-8 are replaced here and kept as they were in the chunks.

    `files`: what it produced, at most 1,000; `files_left_out`: how many more there were, which were not
    taken out. `skipped`: links, pipes and the like, at most 100 of them.
    """

    stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    files: list[str] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    files_left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """How an execution ended. `ledger`, which the answer has beside these, says where that is recorded."""

    id: str
    run_id: str | None
    sandbox_id: str
    status: ExecutionStatus
    output: ExecutionOutput | None
    error: ExecutionError | None
    duration_ms: int | None
    resource_usage: ResourceUsage | None
    billing_info: BillingInfo | None
    isolation: IsolationInfo | None
    ledger: LedgerPlace | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """A produced file; `content` is base64."""

    name: str
    size: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FileGiven:
    """A file for the workspace; its content is base64."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What became of a file. `error` says why it is as it was."""

    sandbox_id: str
    name: str
    size: int | None
    error: ExecutionError | None
    ledger: LedgerPlace | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationInfo:
    """How strong the wall was, and what enforced each limit."""

    tier: str
    limits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUsage:
    """Since the start of the execution."""

    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceAlert:
    """An execution used more of something than the alert's share of its limit, in per cent.

    `taken` says what was done about it.
    """

    version: int = 0
    id: str
    tenant_id: str
    project_id: str
    sandbox_id: str
    execution_id: str
    user_id: str
    metric: str
    value: Decimal
    threshold: Decimal
    action: AlertAction
    taken: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """What one execution may use: MiB, cores (a fraction is allowed), seconds of wall time."""

    max_memory_mb: int
    max_cpu_cores: Decimal
    max_disk_mb: int
    max_execution_time_sec: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetric:
    """A sample of use while code runs, in per cent of the limits; or figures of yours (`source`: api)."""

    version: int = 0
    id: str
    tenant_id: str
    project_id: str
    sandbox_id: str
    execution_id: str
    seq: int
    timestamp: datetime
    cpu_usage: Decimal
    memory_usage: Decimal
    disk_usage: Decimal
    network_usage: NetworkUsage
    custom_metrics: dict[str, Any] = field(default_factory=dict)
    source: MetricSource = "sampler"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSummary:
    """Average and peak use in per cent of the limits; null where nothing was sampled."""

    avg_cpu: Decimal | None
    peak_cpu: Decimal | None
    avg_memory: Decimal | None
    peak_memory: Decimal | None
    data_points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUsage:
    """Measured from outside the jail; MiB are rounded up, so what was used is never shown as nothing."""

    peak_memory_mb: int = 0
    cpu_time_ms: int = 0
    disk_io_mb: int = 0
    network_io_mb: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A place to run code. Only a record until its first execution.

    `container_id` names the jail that holds its files and the variables of its `contexts`, while
    there is one. `alert_action`: what happens when an execution nears its memory limit.
    `minimum_tier`: the weakest isolation under which its code may run, if it demands more than the server.
    """

    version: int = 0
    id: str
    tenant_id: str
    project_id: str
    user_id: str
    name: str
    language: str = "python"
    status: SandboxStatus = "created"
    container_id: str | None = None
    resource_limits: ResourceLimits
    contexts: dict[str, ContextState] = field(default_factory=dict)
    alert_action: AlertAction = "notify"
    minimum_tier: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: datetime
    started_at: datetime | None = None
    terminated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxFile:
    """`SandboxFile` of the API."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxFiles:
    """Files of a sandbox, at most 1,000; `files_left_out` tells how many more there are.

    `skipped`: links, pipes and the like, which cannot be read from outside.
    """

    files: list[SandboxFile]
    skipped: list[SkippedFile]
    files_left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """Something in the workspace that is no file to be handed out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageToday:
    """The executions of the last 24 hours: how many, and their wall time in milliseconds together."""

    total: int
    total_duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLimits:
    """Limits as a caller gives them; what is left out takes the default."""

    max_memory_mb: int | None = None
    max_cpu_cores: Decimal | None = None
    max_disk_mb: int | None = None
    max_execution_time_sec: int | None = None
