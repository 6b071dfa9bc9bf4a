"""Watches a guest of tier T3. Its processes are not the host's: they are counted by what runsc makes of them.

The guest's memory is one memory file of runsc's kernel process; a process of the guest is a
few threads below it. What runsc itself took until the program started is not the program's.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from thane.isolation import accounting, jailed, watchdog
from thane.isolation.cgroups import Group, GroupLimits
from thane.isolation.monitor import Monitor, Send
from thane.isolation.request import Limits
from thane.isolation.stage import Place

# Until the program has started: runsc's own processes, which need some 50 MB and 60 threads.
_KERNEL_MEMORY = 256 << 20
_KERNEL_THREADS = 256
_KERNEL_MILLICORES = 1000
# A process or thread of the guest is up to three of the host, and some stand ready to be used again.
_THREADS_EACH, _THREADS_READY = 3, 64
_IN_USE_PAGES = 16  # resident; one without a guest's process has nothing mapped
_MEMORY_FILE = "/memfd:runsc-memory"
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)  # ended, or ending, between two looks


def limits_while_made(limits: Limits) -> GroupLimits:
    """A guest's group before its program starts."""
    return GroupLimits(
        limits.memory_bytes + _KERNEL_MEMORY,
        max(limits.cpu_millicores, _KERNEL_MILLICORES),
        _threads(limits),
    )


def _threads(limits: Limits) -> int:
    """Far behind what the watch allows: a kernel process that cannot start a thread gives up."""
    return 2 * _THREADS_EACH * limits.processes + _KERNEL_THREADS


class GuestMonitor(Monitor):
    def __init__(
        self,
        place: Place,
        limits: Limits,
        group: Group | None,
        *,
        root: int,
        send: Send,
        stop: Callable[[str], None],
        sample_seconds: float,
    ) -> None:
        super().__init__(
            place,
            limits,
            group,
            root=root,
            first=None,
            send=send,
            stop=stop,
            sample_seconds=sample_seconds,
        )
        self.period = watchdog.PERIOD  # nobody else bounds its processes, nor what memory they take
        self._kernel = 0  # the pid of runsc's kernel process, once it is found
        self._memory_file = ""
        pids = watchdog.descendants(root)
        self._find_kernel(pids)
        self.usage.peak_memory_bytes = self._in_memory_file()
        if group is not None:
            self._setup_memory = max(0, group.memory_now() - self._in_memory_file())
            self.raise_memory(limits)
        else:
            self._setup_memory = _anonymous(pids)
            self._setup_cpu_us = sum(_cpu_us(pid) for pid in pids)
        # Only now may the program begin: none of what it uses may pass for runsc's own.
        os.unlink(f"{place.tmp}/{os.path.basename(jailed.GUEST_MARKER)}")

    def raise_memory(self, limits: Limits) -> None:
        self._limits = limits
        if self._group is not None:
            memory = limits.memory_bytes + self._setup_memory
            self._group.limit(GroupLimits(memory, limits.cpu_millicores, _threads(limits)))

    def _find_kernel(self, pids: list[int]) -> None:
        """The one process with its memory file open that none of the others with it open is a parent of."""
        for pid in pids:
            try:
                for name in os.listdir(f"/proc/{pid}/fd"):
                    path = f"/proc/{pid}/fd/{name}"
                    if os.readlink(path).startswith(_MEMORY_FILE):
                        self._kernel, self._memory_file = pid, path
                        return
            except _GONE:
                continue

    def _in_memory_file(self) -> int:
        try:
            return os.stat(self._memory_file).st_blocks * 512
        except _GONE:
            return 0

    def look(self) -> int:
        threads = sum(_tasks(pid) for pid in watchdog.descendants(self._kernel)) if self._kernel else 0
        if threads > _THREADS_EACH * self._limits.processes + _THREADS_READY:
            self._stop("processes")
        if self._group is not None:
            return super().look()
        memory = _anonymous(watchdog.descendants(self._root)) - self._setup_memory + self._in_memory_file()
        if self._place.tmpfs:
            memory += accounting.used_of_file_system(self._place.base)
        if memory > self._limits.memory_bytes:
            self._stop("memory")
        memory = max(0, memory)
        self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, memory)
        return memory

    def finish(self, report: dict[str, int], consumed_us: int) -> accounting.Usage:
        # The largest process that was reaped is runsc's kernel, not the program: that is no peak of its.
        return super().finish({name: value for name, value in report.items() if name != "peak"}, consumed_us)


def _tasks(pid: int) -> int:
    """Threads of a process that stands for one of the guest's; 0 if it only waits to be used again."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            if int(file.read().split()[1]) < _IN_USE_PAGES:
                return 0
        return len(os.listdir(f"/proc/{pid}/task"))
    except _GONE:
        return 0


def _anonymous(pids: list[int]) -> int:
    """Bytes that these processes hold beside the memory file."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as file:
                for line in file:
                    if line.startswith("RssAnon:"):
                        total += int(line.split()[1]) * 1024
        except _GONE:
            continue
    return total


def _cpu_us(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return accounting.cpu_us_of(file.read())
    except _GONE:
        return 0
