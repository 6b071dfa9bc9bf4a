"""Rows that can be asked for more: a sandbox runs code, an execution has files, a run is finished."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol

from thane.client import types as data
from thane.client._async.core import AsyncCore
from thane.client._async.pages import AsyncPages
from thane.client.convert import given
from thane.client.events import Progress
from thane.client.files import Files, place, put, taken
from thane.client.ops import (
    audit_logs,
    contexts,
    executions,
    ledger,
    resource_alerts,
    resource_metrics,
    runs,
    sandboxes,
)
from thane.client.problem import ProgramFailed

Language = Literal["python", "shell"]


class _Ended(Protocol):
    """What an execution's row and its result have in common."""

    @property
    def id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def output(self) -> data.ExecutionOutput | None: ...
    @property
    def error(self) -> data.ExecutionError | None: ...
    @property
    def _core(self) -> AsyncCore: ...


class _Produced:
    """What can be asked of a program that has run."""

    __slots__ = ()

    @property
    def ok(self: _Ended) -> bool:
        """Whether it completed with exit code 0."""
        return self.status == "completed"

    @property
    def stdout(self: _Ended) -> str:
        """What it wrote to standard output."""
        return "" if self.output is None else self.output.stdout

    @property
    def stderr(self: _Ended) -> str:
        """What it wrote to standard error."""
        return "" if self.output is None else self.output.stderr

    @property
    def files(self: _Ended) -> list[str]:
        """Names of the files that it produced; kept for a day."""
        return [] if self.output is None else list(self.output.files)

    def check(self: _Ended) -> None:
        """ProgramFailed, with the program's own error, unless it completed."""
        if self.status != "completed":
            error = self.error
            why = f"{error.error_type}: {error.message}" if error is not None else "no error was recorded"
            raise ProgramFailed(f"{self.id} ended as {self.status}: {why}")

    async def read_file(self: _Ended, name: str) -> bytes:
        """A produced file's content."""
        found = await self._core.call(
            executions.READ_FILE, data.FileContent, {"execution_id": self.id}, {"name": name}
        )
        return found.content

    async def save_files(self: _Ended, folder: str | Path) -> list[Path]:
        """Write all produced files below `folder`, which is made if it is not there; their paths."""
        paths = []
        for name in [] if self.output is None else self.output.files:
            path = place(Path(folder), name)
            found = await self._core.call(
                executions.READ_FILE, data.FileContent, {"execution_id": self.id}, {"name": name}
            )
            put(path, found.content)
            paths.append(path)
        return paths

    def chunks(self: _Ended) -> AsyncPages[data.ExecutionChunk]:
        """Its output as it came, byte for byte; kept for a day."""
        return AsyncPages(self._core, executions.OUTPUT, data.ExecutionChunk, {"execution_id": self.id}, {})

    @property
    def skipped(self: _Ended) -> list[data.SkippedFile]:
        """What it left that is no file to be read, and why; `output.files_left_out` counts more files."""
        return [] if self.output is None else list(self.output.skipped)

    async def record_metrics(self: _Ended, **figures: Any) -> data.ResourceMetric:
        """Add figures of yours to its samples."""
        values, fields = {"execution_id": self.id}, {"custom_metrics": figures}
        return await self._core.call(resource_metrics.RECORD, data.ResourceMetric, values, fields)

    def metrics(self: _Ended) -> AsyncPages[data.ResourceMetric]:
        """Its samples of use, in per cent of its limits."""
        values = {"execution_id": self.id}
        return AsyncPages(self._core, resource_metrics.LIST, data.ResourceMetric, values, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncExecution(_Produced, data.Execution):
    """One program that ran, or is running."""

    _core: AsyncCore = field(repr=False, compare=False)

    async def refresh(self) -> AsyncExecution:
        """The row as it is now."""
        return await self._core.call(executions.GET, AsyncExecution, {"execution_id": self.id}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncExecutionResult(_Produced, data.ExecutionResult):
    """How a program ended, what it used and cost, and where the ledger has it."""

    _core: AsyncCore = field(repr=False, compare=False)

    async def proof(self) -> data.Proof:
        """The proof of its outcome, for `thane-verify`. ProgramFailed while the outcome is not recorded."""
        place: data.LedgerPlace | None = self.ledger
        if place is None:
            raise ProgramFailed(
                f"the outcome of {self.id} waits to be recorded", "Ask again when it is in the ledger."
            )
        return await self._core.call(ledger.PROVE, data.Proof, {"index": place.index}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncSandbox(data.Sandbox):
    """A place to run code."""

    _core: AsyncCore = field(repr=False, compare=False)

    async def run_code(
        self,
        code: str,
        *,
        language: Language | None = None,
        context: str | None = None,
        timeout: int | None = None,
        memory_mb: int | None = None,
        cpu_cores: Decimal | float | str | None = None,
        disk_mb: int | None = None,
        env: dict[str, str] | None = None,
        stdin: bytes | str | None = None,
        files: Files | None = None,
        outlive: bool = True,
    ) -> AsyncExecutionResult:
        """Run code here and wait for its end. A program that fails is a result, not an exception.

        With a `context` its variables and the sandbox's files are there, and stay. `timeout` is the
        program's, in seconds of wall time. `files` lie in its workspace.
        `outlive=False` lets it end when you hang up or are interrupted; then nothing is
        repeated for you, for it has no idempotency key.
        """
        limits = _limits(timeout, memory_mb, cpu_cores, disk_mb)
        fields = _program(code, language, context, limits, env, stdin, files)
        return await self._core.call(
            sandboxes.EXECUTE, AsyncExecutionResult, {"sandbox_id": self.id}, fields, outlive=outlive
        )

    async def stream_code(
        self,
        code: str,
        *,
        language: Language | None = None,
        context: str | None = None,
        timeout: int | None = None,
        memory_mb: int | None = None,
        cpu_cores: Decimal | float | str | None = None,
        disk_mb: int | None = None,
        env: dict[str, str] | None = None,
        stdin: bytes | str | None = None,
        files: Files | None = None,
        outlive: bool = True,
    ) -> AsyncIterator[Progress | AsyncExecutionResult]:
        """Run code here and yield its output and samples as they come, and its result as the last.

        The arguments are those of `run_code`.
        """
        limits = _limits(timeout, memory_mb, cpu_cores, disk_mb)
        fields = _program(code, language, context, limits, env, stdin, files)
        async for event in self._core.stream(
            sandboxes.EXECUTE, AsyncExecutionResult, {"sandbox_id": self.id}, fields, outlive=outlive
        ):
            yield event

    @property
    def executions(self) -> AsyncPages[AsyncExecution]:
        """What was run here, the newest first."""
        return AsyncPages(self._core, executions.LIST, AsyncExecution, {}, {"sandbox_id": self.id})

    async def list_contexts(self) -> list[data.ContextView]:
        """Its contexts, and which of them have lost their variables."""
        found = await self._core.call(contexts.LIST, data.ContextList, {"sandbox_id": self.id}, {})
        return list(found.items)

    async def create_context(self, name: str | None = None) -> data.ContextView:
        """A name for variables that survive from one program to the next."""
        values = {"sandbox_id": self.id}
        return await self._core.call(contexts.CREATE, data.ContextView, values, given(name=name))

    async def restart_context(self, name: str) -> data.ContextResult:
        """End its interpreter with what runs in it; the next program in it begins anew."""
        values = {"sandbox_id": self.id, "name": name}
        return await self._core.call(contexts.RESTART, data.ContextResult, values, {})

    async def remove_context(self, name: str) -> data.ContextResult:
        """Remove it with its interpreter and what runs in it."""
        values = {"sandbox_id": self.id, "name": name}
        return await self._core.call(contexts.REMOVE, data.ContextResult, values, {})

    async def write_file(self, name: str, content: bytes | str) -> data.FileResult:
        """Put a file into the living sandbox. ProgramFailed if it could not be put there."""
        fields = {"name": name, "content": content.encode() if isinstance(content, str) else content}
        done = await self._core.call(sandboxes.WRITE_FILE, data.FileResult, {"sandbox_id": self.id}, fields)
        return _changed(done)

    async def read_file(self, name: str) -> bytes:
        """A file of the living sandbox."""
        return await self._core.fetch(sandboxes.READ_FILE, {"sandbox_id": self.id}, {"name": name})

    async def list_files(self, folder: str | None = None) -> data.SandboxFiles:
        """Its files, at most 1,000, and what is no file that can be read."""
        values, fields = {"sandbox_id": self.id}, given(folder=folder)
        return await self._core.call(sandboxes.LIST_FILES, data.SandboxFiles, values, fields)

    async def remove_file(self, name: str) -> data.FileResult:
        """Remove a file, or a folder with all that is in it. ProgramFailed if it could not be removed."""
        values, fields = {"sandbox_id": self.id}, {"name": name}
        return _changed(await self._core.call(sandboxes.REMOVE_FILE, data.FileResult, values, fields))

    def alerts(self) -> AsyncPages[data.ResourceAlert]:
        """When programs here neared their memory limit, and what was done."""
        return AsyncPages(self._core, resource_alerts.LIST, data.ResourceAlert, {"sandbox_id": self.id}, {})

    async def resource_summary(self, hours: int | None = None) -> data.ResourceSummary:
        """Average and peak use over the last hours; 24 if not said."""
        values, fields = {"sandbox_id": self.id}, given(hours=hours)
        return await self._core.call(sandboxes.RESOURCE_SUMMARY, data.ResourceSummary, values, fields)

    async def refresh(self) -> AsyncSandbox:
        """The row as it is now."""
        return await self._core.call(sandboxes.GET, AsyncSandbox, {"sandbox_id": self.id}, {})

    async def terminate(self) -> AsyncSandbox:
        """Nothing can be run here any more."""
        return await self._core.call(sandboxes.TERMINATE, AsyncSandbox, {"sandbox_id": self.id}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncRun(data.Run):
    """An agent's piece of work."""

    _core: AsyncCore = field(repr=False, compare=False)

    def executions(self) -> AsyncPages[AsyncExecution]:
        """What was run in it, the newest first."""
        return AsyncPages(
            self._core, executions.LIST, AsyncExecution, {}, {"filter": f'run_id = "{self.id}"'}
        )

    def trail(self) -> AsyncPages[data.AuditLog]:
        """Who did what in it, oldest first."""
        fields = {"filter": f'run_id = "{self.id}"', "sort": "created_at"}
        return AsyncPages(self._core, audit_logs.LIST, data.AuditLog, {}, fields)

    async def refresh(self) -> AsyncRun:
        """The row as it is now."""
        return await self._core.call(runs.GET, AsyncRun, {"run_id": self.id}, {})

    async def finish(self, outcome: str | None = None) -> AsyncRun:
        """Nothing more can be done in it."""
        return await self._core.call(runs.FINISH, AsyncRun, {"run_id": self.id}, given(outcome=outcome))


def _changed(done: data.FileResult) -> data.FileResult:
    if done.error is not None:
        raise ProgramFailed(f"{done.name}: {done.error.message}")
    return done


def _limits(
    timeout: int | None, memory_mb: int | None, cpu_cores: Decimal | float | str | None, disk_mb: int | None
) -> dict[str, Any] | None:
    return (
        given(
            max_execution_time_sec=timeout,
            max_memory_mb=memory_mb,
            max_cpu_cores=None if cpu_cores is None else str(cpu_cores),
            max_disk_mb=disk_mb,
        )
        or None
    )


def _program(
    code: str,
    language: Language | None,
    context: str | None,
    limits: dict[str, Any] | None,
    env: dict[str, str] | None,
    stdin: bytes | str | None,
    files: Files | None,
) -> dict[str, Any]:
    entry = stdin.encode() if isinstance(stdin, str) else stdin
    return given(
        code=code,
        language=language,
        context=context,
        resource_limits=limits,
        env=env,
        stdin=entry,
        files=taken(files),
    )
