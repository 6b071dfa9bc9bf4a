"""From the isolation program's verdict to what a record says: status, error, usage.

What a program printed is its own claim; only the verdict decides the status. The
traceback is read for the error's type and message, never for anything else.
"""

from __future__ import annotations

import re

import msgspec

from thane.domains.sandboxes.entities import ExecutionError, ExecutionStatus, IsolationInfo, ResourceUsage
from thane.kernel.ports.isolation import Enforcement, Outcome, Tier, Usage, Verdict

MIB = 1 << 20
TRACE_MOST = 16 << 10
_STATUS = {
    Outcome.COMPLETED: ExecutionStatus.COMPLETED,
    Outcome.TIMEOUT: ExecutionStatus.TIMEOUT,
    Outcome.CANCELLED: ExecutionStatus.CANCELLED,
}
_ERROR_TYPES = {
    Outcome.TIMEOUT: "Timeout",
    Outcome.OUT_OF_MEMORY: "OutOfMemory",
    Outcome.CANCELLED: "Cancelled",
    Outcome.HOST_KILLED: "HostKilled",
    Outcome.HOST_LOST: "host_lost",
}
# The field to change, beside the option that the message names.
_LIMITS = {Outcome.TIMEOUT: "max_execution_time_sec", Outcome.OUT_OF_MEMORY: "max_memory_mb"}
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?$")


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an execution as it is settled, spooled and recovered.

    `stdout` and `stderr` are None when only the chunks in the store know them. `started` is
    false if it ended while it waited for a slot. `refused` is the code of the error with which the
    isolation program would not run it; `stopped` why Thane itself has ended it; `ended_us` when it
    ended, in microseconds.
    """

    verdict: Verdict
    stdout: bytes | None = None
    stderr: bytes | None = None
    files: tuple[str, ...] = ()
    started: bool = True
    refused: str | None = None
    stopped: str | None = None
    ended_us: int | None = None

    @property
    def status(self) -> str:
        return status_of(self.verdict).value


def status_of(verdict: Verdict) -> ExecutionStatus:
    return _STATUS.get(verdict.outcome, ExecutionStatus.FAILED)


def error_of(done: Done, stderr: str) -> ExecutionError | None:
    """Why it did not complete; None if it did."""
    verdict = done.verdict
    if done.refused is not None:
        return ExecutionError(error_type=done.refused, message=verdict.message)
    if done.stopped is not None and verdict.outcome is Outcome.CANCELLED:
        return ExecutionError(error_type="Stopped", message=done.stopped)
    if verdict.outcome is Outcome.COMPLETED:
        return None
    named = _ERROR_TYPES.get(verdict.outcome)
    if named is not None:
        limit = _LIMITS.get(verdict.outcome)
        message = verdict.message + (f" (`resource_limits.{limit}`)" if limit is not None else "")
        return ExecutionError(error_type=named, message=message)
    trace = _traceback(stderr)
    last = trace.rstrip().rpartition("\n")[2] if trace else ""
    found = _EXCEPTION.match(last)
    if found is not None:
        return ExecutionError(error_type=found[1], message=found[2] or found[1], stack_trace=trace)
    if verdict.signal is not None:
        return ExecutionError(
            error_type="Signal", message=verdict.message or f"killed by signal {verdict.signal}"
        )
    message = verdict.message or f"the program ended with exit code {verdict.exit_code}"
    return ExecutionError(error_type="ExitCode", message=message)


def _traceback(stderr: str) -> str | None:
    at = stderr.rfind("Traceback (most recent call last):")
    if at < 0:
        at = stderr.rfind('  File "')
    return stderr[at:][-TRACE_MOST:] if at >= 0 else None


def usage_of(usage: Usage) -> ResourceUsage:
    """Whole MiB and milliseconds, rounded up."""
    return ResourceUsage(
        peak_memory_mb=-(-usage.peak_memory_bytes // MIB),
        cpu_time_ms=-(-usage.cpu_us // 1000),
        disk_io_mb=-(-(usage.disk_read_bytes + usage.disk_write_bytes) // MIB),
        network_io_mb=-(-(usage.network_in_bytes + usage.network_out_bytes) // MIB),
    )


def isolation_of(verdict: Verdict) -> IsolationInfo:
    return IsolationInfo(tier=verdict.tier.value, limits=msgspec.structs.asdict(verdict.enforcement))


def without_run(job_id: str, outcome: Outcome, message: str) -> Verdict:
    """A verdict for what never ran, or what nobody knows of any more: nothing used, nothing charged."""
    none = Enforcement(
        memory="none",
        cpu="none",
        disk="none",
        timeout="none",
        processes="none",
        output="none",
        network="none",
    )
    return Verdict(
        job_id=job_id,
        outcome=outcome,
        exit_code=-1,
        signal=None,
        message=message,
        usage=Usage(),
        tier=Tier.T0,
        enforcement=none,
        stdout_truncated=False,
        stderr_truncated=False,
    )
