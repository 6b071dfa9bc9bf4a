"""A jail that waits for its job: which kind it is, and how one hears that it is ready.

Making it is `nursery`'s affair, using it `execution`'s and `sandbox`'s.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import select
import socket
from dataclasses import dataclass
from pathlib import Path

from thane.isolation import accounting, watchdog
from thane.isolation.cgroups import Group
from thane.isolation.launch import Launched, memory
from thane.isolation.request import Limits, Template
from thane.isolation.stage import Place


@dataclass(frozen=True)
class Wanted:
    """Which kind of jail."""

    tier: str
    agent: bool = False  # for a stateful sandbox
    template: Template | None = None
    # With limits it is bound by them from the start, and imports what the template says ahead of its job.
    limits: Limits | None = None


@dataclass(eq=False)
class Ready:
    """A jail without a job. Whoever takes it owns all of it and gives it back by `Nursery.close`."""

    wanted: Wanted
    slot: int
    place: Place
    group: Group | None
    launched: Launched
    plan: socket.socket

    @property
    def tier(self) -> str:
        return self.wanted.tier

    def used_cpu_us(self) -> int:
        """CPU time of what runs in it but for its first process, by the kernel's clock ticks."""
        proc = f"/proc/{self.launched.pid}/root/proc"
        total = 0
        for pid in watchdog.in_namespace(proc):
            try:
                stat = Path(f"{proc}/{pid}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended between two looks
            if pid != "1":
                total += accounting.cpu_us_of(stat)
        return total

    def lives(self) -> bool:
        """Whether its first process has not ended."""
        return not select.select([self.launched.pidfd], [], [], 0)[0]

    def complaint(self) -> str:
        """What those who made it have written where only complaints go."""
        return complaint_in(self.launched.diagnostics)

    def hand_over(self, plan: dict[str, object], stdin: int) -> None:
        """Let the program's process go. Takes `stdin`."""
        spec = memory(marshal.dumps(plan))
        try:
            socket.send_fds(self.plan, [b"plan"], [stdin, spec])
        finally:
            os.close(stdin)
            os.close(spec)
            self.plan.close()


async def until_ready(launched: Launched) -> str:
    """What the jail says until it is ready or gone. Notes the first process's pid in passing."""
    loop = asyncio.get_running_loop()
    words = bytearray()
    while not words.endswith(b"ready\n"):
        readable = asyncio.Event()
        loop.add_reader(launched.status, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(launched.status)
        data = os.read(launched.status, 4096)
        if not data:
            break
        words += data
        if launched.pid < 0 and words.startswith(b"pid ") and b"\n" in words:
            launched.pid = int(words.split()[1])
            launched.pidfd = os.pidfd_open(launched.pid)
    return words.decode("ascii", "replace")


def complaint_in(diagnostics: int) -> str:
    os.set_blocking(diagnostics, False)
    try:
        return os.read(diagnostics, 1 << 16).decode("utf-8", "replace").strip()
    except BlockingIOError:
        return ""
