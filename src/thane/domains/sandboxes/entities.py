"""Sandboxes, what was run in them, and what that used.

Graph: a user owns sandboxes, a sandbox runs executions, an execution generates metrics.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from thane.kernel.money import ZERO
from thane.kernel.records import Field, Index, Record, entity, field, key, ref


class SandboxStatus(StrEnum):
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"
    TERMINATED = "terminated"


class ExecutionStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class AlertAction(StrEnum):
    """What happens when an execution uses more memory than the alert's share of its limit."""

    NOTIFY = "notify"
    RAISE_LIMIT = "raise_limit"
    STOP = "stop"


class MetricSource(StrEnum):
    SAMPLER = "sampler"
    API = "api"


class ContextState(StrEnum):
    """`created`: it begins with its next execution. `live`: it has an interpreter, with variables."""

    CREATED = "created"
    LIVE = "live"


class ResourceLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one execution may use: MiB, cores (a fraction is allowed), seconds of wall time."""

    max_memory_mb: int
    max_cpu_cores: Decimal
    max_disk_mb: int
    max_execution_time_sec: int


class SkippedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the workspace that is no file to be handed out, and why."""

    name: str
    reason: str


class ExecutionOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What came out. Bytes that are no UTF-8 are replaced here and kept as they were in the chunks.

    `files`: what it produced, at most 1,000; `files_left_out`: how many more there were, which were not
    taken out. `skipped`: links, pipes and the like, at most 100 of them.
    """

    stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    files: list[str] = []
    skipped: list[SkippedFile] = []
    files_left_out: int = 0


class ExecutionError(msgspec.Struct, frozen=True, kw_only=True):
    """Why it did not complete. `message` says what to change where that helps."""

    error_type: str
    message: str
    stack_trace: str | None = None


class ResourceUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Measured from outside the jail; MiB are rounded up, so what was used is never shown as nothing."""

    peak_memory_mb: int = 0
    cpu_time_ms: int = 0
    disk_io_mb: int = 0
    network_io_mb: int = 0


class BillingInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What it cost."""

    compute_units: Decimal = ZERO
    cost_usd: Decimal = ZERO
    billing_tier: str = "free"


class IsolationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How strong the wall was, and what enforced each limit."""

    tier: str
    limits: dict[str, str] = {}


class NetworkUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Since the start of the execution."""

    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0


@entity(
    "sandboxes",
    "sbx",
    Index("tenant_id", "created_at DESC"),
    Index("tenant_id", "user_id", name="idx_sandboxes_user"),
    Index("tenant_id", "status", name="idx_sandboxes_status"),
    Index("container_id", name="idx_sandboxes_container"),
    subject="user_id",
)
class Sandbox(Record):
    """A place to run code. Only a record until its first execution.

    `container_id` names the jail that holds its files and the variables of its `contexts`, while
    there is one. `alert_action`: what happens when an execution nears its memory limit.
    `minimum_tier`: the weakest isolation under which its code may run, if it demands more than the server.
    """

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    project_id: Field[str] = ref("projects")
    user_id: Field[str] = ref("users", edge="owns")
    name: Field[str] = field()
    language: Field[str] = field(default="python")
    status: Field[SandboxStatus] = field(default=SandboxStatus.CREATED)
    container_id: Field[str | None] = field(default=None)
    resource_limits: Field[ResourceLimits] = field()
    contexts: Field[dict[str, ContextState]] = field(default_factory=dict)
    alert_action: Field[AlertAction] = field(default=AlertAction.NOTIFY)
    minimum_tier: Field[str | None] = field(default=None)
    metadata: Field[dict[str, Any]] = field(default_factory=dict)
    created_at: Field[datetime] = field()
    started_at: Field[datetime | None] = field(default=None)
    terminated_at: Field[datetime | None] = field(default=None)


@entity(
    "executions",
    "exe",
    Index("tenant_id", "user_id", "started_at", name="idx_executions_user_time"),
    Index("tenant_id", "sandbox_id", "created_at DESC", name="idx_executions_sandbox"),
    Index("tenant_id", "status", "created_at DESC", name="idx_executions_status"),
    Index("tenant_id", "started_at", name="idx_executions_time"),
    Index("tenant_id", "created_at DESC"),
    Index("tenant_id", "run_id", "created_at DESC"),
    subject="user_id",
)
class Execution(Record):
    """One program that ran, or is running. Code is searchable."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    project_id: Field[str] = ref("projects")
    sandbox_id: Field[str] = ref("sandboxes", edge="runs")
    user_id: Field[str] = ref("users")
    run_id: Field[str | None] = ref("runs", default=None)
    context: Field[str | None] = field(default=None)
    code: Field[str] = field(text=True)
    language: Field[str] = field()
    status: Field[ExecutionStatus] = field(default=ExecutionStatus.QUEUED)
    created_at: Field[datetime] = field()
    started_at: Field[datetime | None] = field(default=None)
    completed_at: Field[datetime | None] = field(default=None)
    duration_ms: Field[int | None] = field(default=None)
    output: Field[ExecutionOutput | None] = field(default=None)
    error: Field[ExecutionError | None] = field(default=None)
    resource_usage: Field[ResourceUsage | None] = field(default=None)
    billing_info: Field[BillingInfo | None] = field(default=None)
    isolation: Field[IsolationInfo | None] = field(default=None)


@entity(
    "execution_chunks", "chk", Index("execution_id", "seq", unique=True), history=False, stream="execution_id"
)
class ExecutionChunk(Record):
    """Output as it came, byte for byte, at most 64 KB a row; kept a day after the execution."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    execution_id: Field[str] = ref("executions")
    seq: Field[int] = field()
    stream: Field[str] = field()
    data: Field[bytes] = field()
    created_at: Field[datetime] = field()


@entity(
    "resource_metrics",
    "met",
    Index("execution_id", "seq", unique=True),
    Index("tenant_id", "sandbox_id", "timestamp DESC", name="idx_metrics_sandbox_time"),
    Index("tenant_id", "sandbox_id", "timestamp", name="idx_metrics_sandbox_timestamp"),
    Index("tenant_id", "timestamp", name="idx_metrics_time"),
    history=False,
    stream="execution_id",
)
class ResourceMetric(Record):
    """A sample of use while code runs, in per cent of the limits; or figures of yours (`source`: api)."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    project_id: Field[str] = ref("projects")
    sandbox_id: Field[str] = ref("sandboxes")
    execution_id: Field[str] = ref("executions", edge="generates")
    seq: Field[int] = field()
    timestamp: Field[datetime] = field()
    cpu_usage: Field[Decimal] = field()
    memory_usage: Field[Decimal] = field()
    disk_usage: Field[Decimal] = field()
    network_usage: Field[NetworkUsage] = field(default_factory=NetworkUsage)
    custom_metrics: Field[dict[str, Any]] = field(default_factory=dict)
    source: Field[MetricSource] = field(default=MetricSource.SAMPLER)


@entity(
    "resource_alerts",
    "alr",
    Index("tenant_id", "sandbox_id", "created_at DESC"),
    Index("tenant_id", "created_at DESC"),
    subject="user_id",
)
class ResourceAlert(Record):
    """An execution used more of something than the alert's share of its limit, in per cent.

    `taken` says what was done about it.
    """

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    project_id: Field[str] = ref("projects")
    sandbox_id: Field[str] = ref("sandboxes")
    execution_id: Field[str] = ref("executions")
    user_id: Field[str] = ref("users")
    metric: Field[str] = field()
    value: Field[Decimal] = field()
    threshold: Field[Decimal] = field()
    action: Field[AlertAction] = field()
    taken: Field[str] = field()
    created_at: Field[datetime] = field()
