"""One job from its folders to its verdict.

It starts the jail, ends it when it must, and puts together how it ended and what it
used. Verdicts come from our own clock, the kernel's counts and exit statuses; never
from what the program printed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thane.isolation import accounting, cgroups, collection, guest, launch, spawn, tiers, watchdog
from thane.isolation.attach import Attached, Remains
from thane.isolation.cgroups import Group, GroupLimits
from thane.isolation.guest_monitor import GuestMonitor, limits_while_made
from thane.isolation.host import Host
from thane.isolation.monitor import Monitor, Send
from thane.isolation.nursery import Nursery
from thane.isolation.ready import Ready
from thane.isolation.request import Refused, Request
from thane.isolation.stage import Place
from thane.isolation.templates import Templates
from thane.isolation.verdict import Ended, judge

_SETUP_SECONDS = 20.0
_LAST_WORDS_SECONDS = 1.0


@dataclass
class Finished:
    """What is remembered of a job: its verdict, and its folders until they are released."""

    verdict: dict[str, Any]
    place: Place | None
    disk_bytes: int
    shared: bool = False  # the folders are a living sandbox's, not the job's own


class Execution:
    def __init__(
        self,
        host: Host,
        nursery: Nursery,
        templates: Templates,
        request: Request,
        tier: str,
        slot: int,
        name: str,
        send: Send,
    ) -> None:
        self.cause: str | None = None  # why we ended it; None while nobody has
        self._host = host
        self._nursery = nursery
        self._templates = templates
        self._request = request
        self._tier = tier
        self._slot = slot
        self._name = name  # of its folders and its control group
        self._send = send
        self._ready: Ready | None = None  # the jail made ahead, in the tiers that have such
        self._group: Group | None = None
        self._jail: launch.Launched | None = None
        self._orphans: list[int] = []  # killed with their supervisor, so ours to reap
        self._attached: Attached | None = None
        self._monitor: Monitor | None = None
        self._handed_over = False  # the ready jail has its job, so it is not the nursery's any more
        self._before_us = 0  # CPU time that the jail had used before its job, if no group counts

    async def run(self) -> Finished:
        """Run to the end. Raises Refused when the job could not be started at all."""
        limits = self._request.limits
        try:
            place = await self._open()
        except BaseException:
            if self._ready is not None:  # it could not be made to fit the job
                self._nursery.later(self._nursery.close(self._ready))
            raise
        keep = False
        try:
            if self.cause is not None:
                raise Refused("cancelled", "cancelled before it started")
            inputs = self._fill(place)
            ended, usage = await self._live(place)
            found = collection.Found()
            if self._request.collect:
                found = collection.scan(place.workspace, inputs, limits.disk_bytes)
                keep = True
            enforcement = tiers.enforcement(self._tier, self._host)
            verdict = judge(self._request, self._tier, enforcement, ended, usage, found)
            return Finished(verdict, place if keep else None, limits.disk_bytes)
        finally:
            clearing = self._clear_away(place, keep=keep)
            if self._ready is not None:
                self._nursery.later(clearing)  # nobody is to wait for it
            else:
                await clearing  # the next job of this slot has the same uid

    async def _clear_away(self, place: Place, *, keep: bool) -> None:
        """Bury the jail, and remove what was made for it."""
        if self._attached is not None:
            await self._bury(self._attached)
        if self._ready is not None and not self._handed_over:
            await self._nursery.close(self._ready)  # it waits for a job that does not come any more
        elif self._ready is not None:
            await self._nursery.give_back(self._ready, keep_place=keep)
        else:
            await self._give_back(place, keep_place=keep)

    async def _open(self) -> Place:
        """The job's folders; in the tiers with namespaces a ready jail's, made to fit the job."""
        limits = self._request.limits
        if self._tier == tiers.T3:
            return self._open_for_guest()
        if not tiers.has_namespaces(self._tier):
            return self._host.stage.open_place(self._name, limits.disk_bytes, self._host.uid(self._slot))
        if self._request.template is not None:
            self._ready = ready = await self._templates.take(self._tier, self._request)
        else:
            self._ready = ready = await self._nursery.take(self._tier)
        self._slot, self._group = ready.slot, ready.group
        if ready.wanted.limits is not None:
            return ready.place  # it was made with them
        self._host.stage.resize_place(ready.place, limits.disk_bytes)
        if ready.group is not None:
            ready.group.limit(GroupLimits(limits.memory_bytes, limits.cpu_millicores, limits.processes))
        return ready.place

    def _open_for_guest(self) -> Place:
        """A uid of its own beside the zygote's jails, folders, and a group with room for runsc to start."""
        limits = self._request.limits
        self._slot = self._nursery.take_slot()
        name = f"guest-{self._name}"
        try:
            place = self._host.stage.open_place(name, limits.disk_bytes, self._host.uid(self._slot))
            if self._host.groups is not None:
                self._group = self._host.groups.create(name)
                self._group.limit(limits_while_made(limits))
        except OSError:
            self._nursery.give_slot(self._slot)
            raise
        return place

    async def _give_back(self, place: Place, *, keep_place: bool) -> None:
        """What was made for a jail that the zygote has not made."""
        if self._group is not None:
            await cgroups.remove_soon(self._group)
        if not keep_place:
            self._host.stage.close_place(place)
        if self._tier == tiers.T3:
            self._nursery.give_slot(self._slot)

    def raise_memory(self, memory_bytes: int) -> bool:
        """Let it have more memory from now on; False if it does not run yet."""
        if self._monitor is None:
            return False
        limits = replace(self._request.limits, memory_bytes=memory_bytes)
        self._request = replace(self._request, limits=limits)
        self._monitor.raise_memory(limits)
        return True

    def stop(self, cause: str) -> None:
        """End it, with everything in the jail. The first cause counts."""
        if self.cause is not None:
            return
        self.cause = cause
        if self._attached is None:
            return
        if self._group is not None:
            self._group.lift_cpu()
        # The first process kills and reaps the rest and reports what they used...
        self._attached.stop()
        # ...and if it does not, it dies itself, and the kernel ends its namespace.
        asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self._kill)

    def _kill(self) -> None:
        if self._jail is None:
            return
        targets = [self._jail.pid]
        if not tiers.has_namespaces(self._tier):
            self._orphans = watchdog.descendants(self._jail.pid)
            targets = [*self._orphans, *targets]
        for pid in targets:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _fill(self, place: Place) -> dict[str, collection.Fingerprint]:
        """Write the code and the input files; answers what the files looked like."""
        request = self._request
        Path(place.code, launch.source_name(request)).write_bytes(request.code)
        inputs: dict[str, collection.Fingerprint] = {}
        total = sum(len(content) for _, content in request.files)
        try:
            if total > request.limits.disk_bytes:  # without a mount of its own nothing else would refuse
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            for name, content in request.files:
                path = Path(place.workspace, name)
                self._make_folders(place.workspace, path)
                path.write_bytes(content)
                self._give(path)
                inputs[name] = collection.fingerprint(str(path))
        except OSError as error:
            message = f"the input files ({total} bytes) do not fit the workspace: {error.strerror}"
            raise Refused("invalid", message, "Send less, rename the file, or raise --disk.") from error
        return inputs

    def _make_folders(self, workspace: str, path: Path) -> None:
        for parent in reversed(path.relative_to(workspace).parents):
            folder = Path(workspace, parent)
            if not folder.exists():
                folder.mkdir()
                self._give(folder)

    def _give(self, path: Path) -> None:
        uid = self._host.uid(self._slot)
        if uid is not None:
            os.chown(path, uid, uid)

    async def _live(self, place: Place) -> tuple[Ended, accounting.Usage]:
        """From the start of the jail until nothing in it is left but, for a moment, its first process."""
        jail = self._jail = self._start(place)

        def pass_on(stream: str, data: bytes) -> None:
            self._send({"t": "output", "stream": stream}, data)

        attached = Attached(jail, self._request.limits.output_bytes, pass_on, started=self._ready is not None)
        self._attached = attached
        try:
            monitor = await self._follow(place, attached)
            if monitor is None:
                await attached.exited.wait()
        except asyncio.CancelledError:
            self._kill()
            raise
        words = attached.last_words()
        report = accounting.parse_report(words.report)
        remains: Remains | None = None
        if not report or monitor is None:
            remains = await self._bury(attached)
        if monitor is None and self.cause is not None:
            raise Refused("cancelled", "cancelled before it started")
        if monitor is None:
            reason = (remains and remains.complaints) or "it gave no reason"
            raise Refused("jail_failed", f"the jail of tier {self._tier} could not be set up: {reason}")
        usage = monitor.finish(report, remains.consumed_us if remains is not None else 0)
        ended = Ended(
            cause=self.cause or monitor.overrun,  # it may have ended before we looked
            report=report,
            wait_status=remains.wait_status if remains is not None else 0,
            oom_kills=self._group.oom_kills() if self._group is not None else 0,
            stdout_truncated=words.stdout_truncated,
            stderr_truncated=words.stderr_truncated,
        )
        return ended, usage

    async def _follow(self, place: Place, attached: Attached) -> Monitor | None:
        """Until everything in the jail has ended. None if it never started."""
        if not attached.turned.is_set():
            try:
                await asyncio.wait_for(attached.turned.wait(), _SETUP_SECONDS)
            except TimeoutError:
                self._kill()
        if not attached.started.is_set():
            return None
        monitor = self._monitor = self._watch(place, attached.jail)
        await self._until_end(monitor, attached)
        if self._tier == tiers.T3:
            await attached.exited.wait()  # runsc clears away what it made
        return monitor

    async def _bury(self, attached: Attached) -> Remains:
        """Let the first process go, which has nothing more to do, and reap it."""
        attached.end()
        await attached.exited.wait()
        self._jail = self._attached = None
        remains = attached.detach()
        spawn.reap(self._orphans)
        if remains.complaints:
            said = f"the jail of job {self._request.id} (tier {self._tier}) said: {remains.complaints}\n"
            sys.stderr.write(said)
            sys.stderr.flush()
        return remains

    def _start(self, place: Place) -> launch.Launched:
        if self._tier == tiers.T3:
            return guest.start(self._host, self._request, place, self._slot, self._group)
        if self._ready is None:
            return launch.start_confined(self._host, self._request, place, self._slot)
        if self._group is None and self._ready.wanted.limits is not None:
            self._before_us = self._ready.used_cpu_us()
        plan = launch.plan(self._host, self._request, self._tier, place, self._slot)
        self._ready.hand_over(plan, launch.standard_input(self._request))
        self._handed_over = True
        return self._ready.launched

    def _watch(self, place: Place, jail: launch.Launched) -> Monitor:
        if self._tier == tiers.T3:
            return GuestMonitor(
                place,
                self._request.limits,
                self._group,
                root=jail.pid,
                send=self._send,
                stop=self.stop,
                sample_seconds=self._request.sample_seconds,
            )
        return Monitor(
            place,
            self._request.limits,
            self._group,
            root=jail.pid,
            first=jail.pid if tiers.has_namespaces(self._tier) else None,
            send=self._send,
            stop=self.stop,
            sample_seconds=self._request.sample_seconds,
            before_us=self._before_us,
        )

    async def _until_end(self, monitor: Monitor, attached: Attached) -> None:
        """Let it run, watched, until all of it has ended or was ended."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._request.limits.timeout_ms / 1000, self.stop, "timeout")
        watch = asyncio.create_task(monitor.watch())
        ending = asyncio.create_task(attached.told.wait())
        try:
            await asyncio.wait((watch, ending), return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()  # a defect of ours is not to pass for a quiet end
            await ending
        except BaseException:
            self._kill()
            await attached.exited.wait()
            raise
        finally:
            timer.cancel()
            watch.cancel()
            ending.cancel()
