"""One job from its folders to its verdict.

It starts the jail, passes its output on, watches its limits, ends it when it must, and
says how it ended and what it used. Verdicts come from our own clock, the kernel's
counts and exit statuses; never from what the program printed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thane.isolation import accounting, collection, launch, tiers, watchdog
from thane.isolation.accounting import Usage
from thane.isolation.cgroups import Group, GroupLimits
from thane.isolation.host import Host
from thane.isolation.jailed_pid import first_pid
from thane.isolation.output import Output
from thane.isolation.request import Refused, Request
from thane.isolation.stage import Place
from thane.isolation.verdict import Ended, judge

Send = Callable[[dict[str, Any], bytes], None]

_SETUP_SECONDS = 20.0
_LAST_WORDS_SECONDS = 1.0
_SAMPLE_SECONDS = 1.0
_GROUP_PERIOD = 0.1
_DISK_PERIOD = 0.25


@dataclass
class Finished:
    """What is remembered of a job: its verdict, and its folders until they are released."""

    verdict: dict[str, Any]
    place: Place | None
    disk_bytes: int


@dataclass
class Execution:
    host: Host
    request: Request
    tier: str
    slot: int
    name: str
    send: Send
    cause: str | None = None  # why we ended it; None while nobody has
    usage: Usage = field(default_factory=Usage)
    _group: Group | None = None
    _jail: launch.Launched | None = None
    _first: int | None = None  # host's pid of the jail's first process
    _proc: str = ""  # the jail's own /proc, seen from here
    _started_at: float = 0.0
    _report: str = ""

    # -- life ---------------------------------------------------------------------------

    async def run(self) -> Finished:
        """Run to the end. Raises Refused when the job could not be started at all."""
        place = self.host.stage.open_place(
            self.name, self.request.limits.disk_bytes, self.host.uid(self.slot)
        )
        keep = False
        try:
            inputs = self._fill(place)
            if self.tier == tiers.T2 and self.host.groups is not None:
                limits = self.request.limits
                wanted = GroupLimits(limits.memory_bytes, limits.cpu_millicores, limits.processes)
                self._group = self.host.groups.create(self.name, wanted)
            ended = await self._live(place)
            found = collection.Found()
            if self.request.collect:
                found = collection.scan(place.workspace, inputs, self.request.limits.disk_bytes)
                keep = True
            verdict = judge(
                self.request, self.tier, tiers.enforcement(self.tier, self.host), ended, self.usage, found
            )
            return Finished(verdict, place if keep else None, self.request.limits.disk_bytes)
        finally:
            if self._group is not None:
                await self._remove_group(self._group)
            if not keep:
                self.host.stage.close_place(place)

    def stop(self, cause: str) -> None:
        """End it, with everything in the jail. The first cause counts."""
        if self.cause is not None or self._jail is None:
            self.cause = self.cause or cause
            return
        self.cause = cause
        if self._group is not None:
            self._group.lift_cpu()
        # The first process kills and reaps the rest and reports what they used...
        os.close(self._jail.control)
        self._jail.control = -1
        # ...and if it does not, it dies itself, and the kernel ends its namespace.
        asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self._kill)

    def _kill(self) -> None:
        if self._jail is None:
            return
        targets = [
            self._first,
            *(watchdog.descendants(self._jail.pid) if not self._namespaces else ()),
            self._jail.pid,
        ]
        for pid in targets:
            if pid is None:
                continue
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    @property
    def _namespaces(self) -> bool:
        return tiers.has_namespaces(self.tier)

    def _fill(self, place: Place) -> dict[str, collection.Fingerprint]:
        """Write the code and the input files; answers what the files looked like."""
        source = "main.py" if self.request.language == "python" else "main.sh"
        uid = self.host.uid(self.slot)
        Path(place.code, source).write_bytes(self.request.code)
        inputs: dict[str, collection.Fingerprint] = {}
        try:
            for name, content in self.request.files:
                path = Path(place.workspace, name)
                for parent in reversed(path.relative_to(place.workspace).parents):
                    folder = Path(place.workspace, parent)
                    if not folder.exists():
                        folder.mkdir()
                        if uid is not None:
                            os.chown(folder, uid, uid)
                path.write_bytes(content)
                if uid is not None:
                    os.chown(path, uid, uid)
                inputs[name] = collection.fingerprint(str(path))
        except OSError as error:
            total = sum(len(content) for _, content in self.request.files)
            message = f"the input files ({total} bytes) do not fit the workspace: {error.strerror}"
            raise Refused("invalid", message, "Send less, rename the file named, or raise --disk.") from error
        return inputs

    # -- while it runs ------------------------------------------------------------------

    async def _live(self, place: Place) -> Ended:
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        started, exited, told = asyncio.Event(), asyncio.Event(), asyncio.Event()
        jail = launch.start(self.host, self.request, self.tier, place, self._group, self.slot)
        self._jail = jail
        limit = self.request.limits.output_bytes
        streams = [
            Output(jail.stdout, limit, lambda data: self.send({"t": "output", "stream": "stdout"}, data)),
            Output(jail.stderr, limit, lambda data: self.send({"t": "output", "stream": "stderr"}, data)),
        ]
        diagnostics = bytearray()
        complaints = Output(jail.diagnostics, 1 << 16, diagnostics.extend)

        def status_readable() -> None:
            data = os.read(jail.status, 4096)
            self._report += data.decode("ascii", "replace")
            if self._report.startswith("started\n"):
                started.set()
            if not data:
                loop.remove_reader(jail.status)
                told.set()

        loop.add_reader(jail.status, status_readable)
        loop.add_reader(jail.pidfd, exited.set)
        watch: asyncio.Task[None] | None = None
        timer: asyncio.TimerHandle | None = None
        try:
            await _first_of(started, exited, _SETUP_SECONDS)
            self._started_at = time.monotonic()
            if started.is_set():
                if self._namespaces and jail.info is not None:
                    self._first = first_pid(os.read(jail.info, 4096))
                    self._proc = f"/proc/{self._first}/root/proc"
                timer = loop.call_later(self.request.limits.timeout_ms / 1000, self.stop, "timeout")
                watch = asyncio.create_task(self._watch(place))
            else:
                self._kill()
            await exited.wait()
        except asyncio.CancelledError:
            self._kill()
            raise
        finally:
            self.usage.wall_us = int((time.monotonic() - (self._started_at or began)) * 1e6)
            if timer is not None:
                timer.cancel()
            if watch is not None:
                watch.cancel()
            loop.remove_reader(jail.pidfd)
            _, wait_status, consumed = os.wait4(jail.pid, 0)
            self._jail = None
            for stream in (*streams, complaints):
                stream.drain()
            if not told.is_set():
                os.set_blocking(jail.status, False)
                self._drain_report(jail.status)
                loop.remove_reader(jail.status)
            for descriptor in (jail.status, jail.control, jail.info, jail.pidfd):
                if descriptor is not None and descriptor >= 0:
                    os.close(descriptor)
        reason = bytes(diagnostics).decode("utf-8", "replace").strip()
        if reason:
            print(
                f"the jail of job {self.request.id} (tier {self.tier}) said: {reason}",
                file=sys.stderr,
                flush=True,
            )
        if not started.is_set() and self.cause is None:
            reason = reason or "it gave no reason"
            raise Refused("jail_failed", f"the jail of tier {self.tier} could not be set up: {reason}")
        self._final_usage(place, int((consumed.ru_utime + consumed.ru_stime) * 1e6))
        return Ended(
            cause=self.cause,
            report=accounting.parse_report(self._report),
            wait_status=wait_status,
            oom_kills=self._group.oom_kills() if self._group is not None else 0,
            stdout_truncated=streams[0].truncated,
            stderr_truncated=streams[1].truncated,
        )

    def _drain_report(self, descriptor: int) -> None:
        try:
            while data := os.read(descriptor, 4096):
                self._report += data.decode("ascii", "replace")
        except BlockingIOError:
            return

    async def _watch(self, place: Place) -> None:
        """Limits that nobody else enforces, and a sample each second; the first at once."""
        period = _GROUP_PERIOD if self._group is not None else watchdog.PERIOD
        next_sample = next_disk = 0.0
        while True:
            before = time.monotonic()
            memory = self._look_at_memory(place)
            if before >= next_disk and not place.tmpfs:
                next_disk = before + _DISK_PERIOD
                if accounting.used_below(place.base) > self.request.limits.disk_bytes:
                    self.stop("disk")
            if before >= next_sample:
                next_sample = before + _SAMPLE_SECONDS
                self._sample(place, memory, before)
            spent = time.monotonic() - before
            # Looking must not take more than a fifth of a processor, however much there is to look at.
            await asyncio.sleep(max(period, 4 * spent))

    def _look_at_memory(self, place: Place) -> int:
        limits = self.request.limits
        if self._group is not None:
            if self._group.oom_kills():
                self.stop("memory")
            memory = self._group.memory_now()
        else:
            proc, pids = self._processes()
            memory = watchdog.memory(proc, pids, limits.memory_bytes)
            if place.tmpfs:
                memory += accounting.used_of_file_system(place.base)
            if memory > limits.memory_bytes:
                self.stop("memory")
        self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, memory)
        return memory

    def _processes(self) -> tuple[str, list[str]]:
        try:
            if self._namespaces:
                return self._proc, watchdog.in_namespace(self._proc)
            assert self._jail is not None
            return "/proc", [str(pid) for pid in watchdog.descendants(self._jail.pid)]
        except (FileNotFoundError, ProcessLookupError):
            return "/proc", []  # it has just ended

    def _sample(self, place: Place, memory: int, now: float) -> None:
        self.usage.wall_us = int((now - self._started_at) * 1e6)
        if self._group is not None:
            self.usage.cpu_us = self._group.cpu_us()
        self._workspace_usage(place)
        if self._first is not None:
            try:
                accounting.read_network(self.usage, f"/proc/{self._first}")
            except (FileNotFoundError, ProcessLookupError):
                return  # it has just ended; the verdict follows
        self.send(
            {
                "t": "sample",
                "at_us": self.usage.wall_us,
                "memory_bytes": memory,
                "usage": self.usage.as_dict(),
            },
            b"",
        )

    def _workspace_usage(self, place: Place) -> None:
        used = (
            accounting.used_of_file_system(place.base) if place.tmpfs else accounting.used_below(place.base)
        )
        self.usage.workspace_bytes = used
        # Memory file systems do not count as disk for the kernel: what was put there is what was written.
        self.usage.disk_write_bytes = max(self.usage.disk_write_bytes, used)

    def _final_usage(self, place: Place, consumed_us: int) -> None:
        report = accounting.parse_report(self._report)
        if self._group is not None:
            self.usage.cpu_us = self._group.cpu_us()
            self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, self._group.peak_memory())
        else:
            self.usage.cpu_us = max(report.get("cpu_us", 0), consumed_us)
            self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, report.get("peak", 0))
        self._workspace_usage(place)
        self.usage.disk_read_bytes = report.get("read", 0)
        self.usage.disk_write_bytes = max(self.usage.disk_write_bytes, report.get("written", 0))

    async def _remove_group(self, group: Group) -> None:
        """The kernel lets a group go a moment after its last process."""
        deadline = time.monotonic() + 5
        pause = 0.001
        while not group.remove() and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(0.1, pause * 2)


async def _first_of(one: asyncio.Event, other: asyncio.Event, seconds: float) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
