"""What answers and requests are made of.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.types.accounts import CurrentUser, IssuedKey, KeyView, SetupToken, UserRole
from thane.client.types.audit import AuditLog, AuditStatus, CheckpointView, Entries, EntryView, Proof
from thane.client.types.billing import BillingEvent, UsageAggregate
from thane.client.types.common import Head, LedgerPlace, Op
from thane.client.types.projects import Project, ProjectStatus
from thane.client.types.runs import CreateRun, OpenedRuns, Run, RunStatus
from thane.client.types.sandboxes import (
    BillingInfo,
    DashboardData,
    Execution,
    ExecutionChunk,
    ExecutionError,
    ExecutionOutput,
    ExecutionResult,
    ExecutionStatus,
    FileContent,
    FileGiven,
    IsolationInfo,
    NetworkUsage,
    ResourceLimits,
    ResourceMetric,
    ResourceSummary,
    ResourceUsage,
    Sandbox,
    SandboxStatus,
    UsageToday,
    WantedLimits,
)

__all__ = [
    "AuditLog",
    "AuditStatus",
    "BillingEvent",
    "BillingInfo",
    "CheckpointView",
    "CreateRun",
    "CurrentUser",
    "DashboardData",
    "Entries",
    "EntryView",
    "Execution",
    "ExecutionChunk",
    "ExecutionError",
    "ExecutionOutput",
    "ExecutionResult",
    "ExecutionStatus",
    "FileContent",
    "FileGiven",
    "Head",
    "IsolationInfo",
    "IssuedKey",
    "KeyView",
    "LedgerPlace",
    "NetworkUsage",
    "Op",
    "OpenedRuns",
    "Project",
    "ProjectStatus",
    "Proof",
    "ResourceLimits",
    "ResourceMetric",
    "ResourceSummary",
    "ResourceUsage",
    "Run",
    "RunStatus",
    "Sandbox",
    "SandboxStatus",
    "SetupToken",
    "UsageAggregate",
    "UsageToday",
    "UserRole",
    "WantedLimits",
]
