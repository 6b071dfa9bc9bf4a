"""How a job ended, in the words of the protocol, with what to change where that helps."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

from thane.isolation.accounting import Usage
from thane.isolation.collection import Found
from thane.isolation.request import Limits, Request
from thane.isolation.stage import INODES
from thane.isolation.watchdog import most_sockets


@dataclass(frozen=True)
class Ended:
    """The facts that a verdict is made of."""

    # Why we ended it: timeout, cancelled, lost, memory, sockets, disk, entries, processes, hidden, broken.
    cause: str | None
    report: dict[str, int]  # the first process's report; empty if it was killed before it could
    wait_status: int  # of the process that we are the parent of
    oom_kills: int
    stdout_truncated: bool
    stderr_truncated: bool


def _megabytes(count: int) -> str:
    return f"{count / (1 << 20):.6g} MB"


def _status(ended: Ended) -> tuple[int, int | None]:
    """Exit code and signal of the program."""
    if "exit" in ended.report:
        return ended.report["exit"], None
    if "signal" in ended.report:
        return 128 + ended.report["signal"], ended.report["signal"]
    # No report: the first process was killed, by us or by the host.
    code = os.waitstatus_to_exitcode(ended.wait_status)
    if code == 0:
        return 1, None
    number = -code if code < 0 else code - 128 if code > 128 else None
    return (128 + number, number) if number is not None else (code, None)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _outcome_of_cause(cause: str, limits: Limits) -> tuple[str, str]:
    """What it is called that we ended it, and what to change."""
    memory, disk = _megabytes(limits.memory_bytes), _megabytes(limits.disk_bytes)
    known = {
        "memory": (
            "out_of_memory",
            f"used more than {memory} of memory (files in the workspace and in /tmp count); raise --memory",
        ),
        "sockets": (
            "out_of_memory",
            f"held more sockets than {most_sockets(limits.memory_bytes)}, in whose buffers {memory} of memory"
            " can be hidden; close some, or raise --memory",
        ),
        "hidden": (
            "failed",
            "ran a program that may not be looked at (one without the right to be read), which this"
            " tier of isolation cannot count; make it readable",
        ),
        "broken": (
            "failed",
            "its context spoke out of turn on the channel that is not the code's, and was ended",
        ),
        "timeout": ("timeout", f"ran longer than {limits.timeout_ms / 1000:g} s; raise --timeout"),
        "disk": ("failed", f"used more than {disk} of disk; raise --disk"),
        "entries": ("failed", f"made more than {INODES} files and folders; put them into an archive"),
        "processes": ("failed", f"ran more than {limits.processes} processes at once; start fewer"),
        "lost": ("cancelled", "the connection that had asked for it was lost"),
        "cancelled": ("cancelled", "cancelled"),
        "closed": ("cancelled", "its sandbox was ended"),
    }
    return known[cause]


def _outcome(ended: Ended, limits: Limits, code: int, number: int | None) -> tuple[str, str]:
    if ended.oom_kills:
        return _outcome_of_cause("memory", limits)
    if ended.cause is not None:
        return _outcome_of_cause(ended.cause, limits)
    if number == signal.SIGKILL:
        return (
            "host_killed",
            "killed by SIGKILL, which Thane did not send: by the host (its memory may have run out),"
            " an administrator, or the program itself",
        )
    if number is not None:
        return "failed", f"killed by {_signal_name(number)}"
    if code != 0:
        return "failed", f"exited with code {code}"
    return "completed", ""


def judge(
    request: Request, tier: str, enforcement: dict[str, str], ended: Ended, usage: Usage, found: Found
) -> dict[str, Any]:
    """The verdict as it goes over the socket and is remembered."""
    code, number = _status(ended)
    outcome, message = _outcome(ended, request.limits, code, number)
    if outcome != "completed" and code == 0:
        # It was ended while it was ending by itself: the cause counts.
        code, number = 128 + signal.SIGKILL, int(signal.SIGKILL)
    return {
        "job_id": request.id,
        "outcome": outcome,
        "exit_code": code,
        "signal": number,
        "message": message,
        "usage": usage.as_dict(),
        "tier": tier,
        "enforcement": enforcement,
        "stdout_truncated": ended.stdout_truncated,
        "stderr_truncated": ended.stderr_truncated,
        "files": [{"name": name, "size": size} for name, size in found.files],
        "refused_files": [list(entry) for entry in found.refused],
        "files_left_out": found.left_out,
    }
