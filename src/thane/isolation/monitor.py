"""Looks at a running jail: the limits that nobody else enforces, samples, and the final use.

It measures and says `stop` with a reason; ending the jail is the execution's affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from thane.isolation import accounting, watchdog
from thane.isolation.accounting import Usage
from thane.isolation.cgroups import Group, GroupLimits
from thane.isolation.request import Limits
from thane.isolation.stage import INODES, Place

_GROUP_PERIOD = 0.1
_DISK_PERIOD = 0.25
_CALM_PERIOD = 0.25
_PROCESS_SLACK = 2
_GONE = (FileNotFoundError, ProcessLookupError)  # it has ended just now; the verdict follows

Send = Callable[[dict[str, Any], bytes], None]


class Monitor:
    """One job's. `root` is the process we are the parent of, `first` the jail's first one (host's pids)."""

    def __init__(  # noqa: PLR0913 - what a job is, each by its name
        self,
        place: Place,
        limits: Limits,
        group: Group | None,
        *,
        root: int,
        first: int | None,
        send: Send,
        stop: Callable[[str], None],
        sample_seconds: float = 1.0,
        before_us: int = 0,
    ) -> None:
        self._place = place
        self._limits = limits
        self._group = group
        self._root = root
        self._first = first
        self._send = send
        self._stop = stop
        self._sample_seconds = sample_seconds
        self._began = time.monotonic()
        # What making the jail took, or importing ahead of the job, is ours, not the program's.
        self._setup_cpu_us = group.cpu_us() if group is not None else before_us
        self._setup_memory = 0
        self.usage = Usage()
        self._removed_bytes = 0
        self.overrun: str | None = None  # at the last look: which limit of its folders was exceeded
        self.period = _GROUP_PERIOD if group is not None else watchdog.PERIOD  # seconds between two looks
        self._next_sample = self._next_disk = 0.0
        self.calm = False  # nothing is asked of the jail now: look less often

    async def watch(self) -> None:
        """Until cancelled. The first sample comes at once."""
        while True:
            pause = self.tick()
            await asyncio.sleep(pause)

    def tick(self) -> float:
        """Look at what is due; answers after how many seconds to look again."""
        before = time.monotonic()
        memory = self.look()
        if before >= self._next_disk and not self._place.tmpfs:
            self._next_disk = before + _DISK_PERIOD
            self._look_at_disk()
        if before >= self._next_sample:
            self._next_sample = before + self._sample_seconds
            self._sample(memory)
        # Looking must not take more than a fifth of a processor, however much there is to look at.
        pause = _CALM_PERIOD if self.calm else min(self.period, self._sample_seconds)
        return max(pause, 4 * (time.monotonic() - before))

    def raise_memory(self, limits: Limits) -> None:
        """From now on the jail may use as much memory as these limits say."""
        self._limits = limits
        if self._group is not None:
            self._group.limit(GroupLimits(limits.memory_bytes, limits.cpu_millicores, limits.processes))

    def look(self) -> int:
        """Bytes of memory in use now; says `stop` when they are too many."""
        if self._group is not None:
            if self._group.oom_kills():
                self._stop("memory")
            memory = max(0, self._group.memory_now() - self._setup_memory)
        else:
            proc, pids = self._processes()
            # The user's own limit is only near where his other processes count too (tier T1).
            if len(pids) > _PROCESS_SLACK * self._limits.processes:
                self._stop("processes")
            self._look_at_sockets(pids)
            memory = watchdog.memory(proc, pids, self._limits.memory_bytes)
            if self._place.tmpfs:
                memory += accounting.used_of_file_system(self._place.base)
            if memory > self._limits.memory_bytes:
                self._stop("memory")
        self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, memory)
        return memory

    def _processes(self) -> tuple[str, list[str]]:
        """A /proc and the pids in it that are the jail's."""
        if self._first is not None:
            proc = f"/proc/{self._first}/root/proc"
            try:
                return proc, watchdog.in_namespace(proc)
            except _GONE:
                return proc, []
            except PermissionError:
                if not watchdog.is_exiting(self._first):
                    raise
                return proc, []
        return "/proc", [str(pid) for pid in watchdog.descendants(self._root)]

    def _look_at_sockets(self, pids: list[str]) -> None:
        """Their buffers belong to no process. Without namespaces it looks at removed files as well."""
        self._removed_bytes = 0
        if self._first is not None:
            try:
                sockets = watchdog.sockets_in_namespace(f"/proc/{self._first}")
            except _GONE:
                return
        else:
            found = watchdog.opened([int(pid) for pid in pids])
            sockets, self._removed_bytes = found.sockets, found.removed_bytes
            if found.hidden:
                self._stop("hidden")
        if sockets > watchdog.most_sockets(self._limits.memory_bytes):
            self._stop("sockets")

    def _look_at_disk(self) -> None:
        over = self._over(*accounting.used_below(self._place.writable))
        if over is not None:
            self._stop(over)

    def _over(self, used: int, entries: int) -> str | None:
        if used + self._removed_bytes > self._limits.disk_bytes:
            return "disk"
        return "entries" if entries > INODES else None

    def _sample(self, memory: int) -> None:
        self.usage.wall_us = int((time.monotonic() - self._began) * 1e6)
        if self._group is not None:
            self.usage.cpu_us = self._group.cpu_us() - self._setup_cpu_us
        self._look_at_workspace()
        if self._first is not None:
            with contextlib.suppress(*_GONE):
                accounting.read_network(self.usage, f"/proc/{self._first}")
        sample = {"t": "sample", "at_us": self.usage.wall_us, "memory_bytes": memory}
        self._send({**sample, "usage": self.usage.as_dict()}, b"")

    def _look_at_workspace(self) -> None:
        if self._place.tmpfs:
            used = accounting.used_of_file_system(self._place.base)
        else:
            used, entries = accounting.used_below(self._place.writable)
            self.overrun = self._over(used, entries)
        self.usage.workspace_bytes = used
        # Memory file systems do not count as disk for the kernel: what was put there is what was written.
        self.usage.disk_write_bytes = max(self.usage.disk_write_bytes, used)

    def finish(self, report: dict[str, int], consumed_us: int) -> Usage:
        """The whole use, once the jail is gone and its processes are reaped."""
        usage = self.usage
        usage.wall_us = int((time.monotonic() - self._began) * 1e6)
        if self._group is not None:
            usage.cpu_us = self._group.cpu_us() - self._setup_cpu_us
            peak = self._group.peak_memory() - self._setup_memory
            usage.peak_memory_bytes = max(usage.peak_memory_bytes, peak)
        else:
            # The report counts the program alone; without one there is only the sum with the jail's making.
            usage.cpu_us = max(0, report.get("cpu_us", consumed_us) - self._setup_cpu_us)
            usage.peak_memory_bytes = max(usage.peak_memory_bytes, report.get("peak", 0))
        self._removed_bytes = 0
        self._look_at_workspace()
        usage.disk_read_bytes = report.get("read", 0)
        usage.disk_write_bytes = max(usage.disk_write_bytes, report.get("written", 0))
        return usage
