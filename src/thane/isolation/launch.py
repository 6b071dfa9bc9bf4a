"""What one job's jail starts with: its plan, its limits, its descriptors; and the start of a T1 jail.

The jails of the tiers with namespaces are made ahead by `nursery`. What happens after
the start is `execution`'s.
"""

from __future__ import annotations

import fcntl
import functools
import marshal
import os
import resource
import signal
from dataclasses import dataclass

from thane.isolation import confined, root, spawn, tiers
from thane.isolation.host import Host
from thane.isolation.request import Limits, Request
from thane.isolation.stage import Place

CPU_LIMIT = resource.RLIMIT_CPU
# Without a network namespace nobody counts what descriptors on their way hold, so there are few of them.
_OPEN_FILES, _OPEN_FILES_CONFINED = 1024, 256
# Signals and timers that wait: the kernel counts them for the whole user.
_WAITING_SIGNALS = 256
_STACK = 8 << 20
_LOCKED_MEMORY = 1 << 16
# A second line behind the watchdog: what one process may map. Generous, as interpreters
# and allocators reserve far more than they use.
_ADDRESS_SPACE_FACTOR, _ADDRESS_SPACE_MORE = 4, 4 << 30
# Seconds of CPU per process beyond what the clock allows: it ends what a stopped isolation program could not.
_CPU_MARGIN = 5


@dataclass
class Launched:
    """The program's ends of a started jail."""

    pid: int
    pidfd: int
    stdout: int
    stderr: int
    status: int
    control: int
    diagnostics: int  # what those who make the jail complain about

    def end(self) -> None:
        """Kill and reap a jail that nobody follows yet, and close everything."""
        if self.pid > 0:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for descriptor in (self.pidfd, self.stdout, self.stderr, self.status, self.control, self.diagnostics):
            if descriptor >= 0:
                os.close(descriptor)


def resource_limits(limits: Limits, tier: str, extra_seconds: int = 0) -> list[tuple[int, int]]:
    """The rlimits that the program's first process takes on, for itself and its children."""
    processors = max(1, -(-limits.cpu_millicores // 1000))
    seconds = -(-limits.timeout_ms // 1000) * processors + _CPU_MARGIN + extra_seconds
    found = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.disk_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES_CONFINED if tier == tiers.T1 else _OPEN_FILES),
        (resource.RLIMIT_STACK, _STACK),
        (resource.RLIMIT_MEMLOCK, _LOCKED_MEMORY),
        (resource.RLIMIT_CPU, seconds),
    ]
    if tier != tiers.T3:  # a guest's kernel has none of these, and its signals and queues are its own
        found += [(resource.RLIMIT_SIGPENDING, _WAITING_SIGNALS), (resource.RLIMIT_MSGQUEUE, 0)]
    if tier != tiers.T2:
        found.append((resource.RLIMIT_AS, limits.memory_bytes * _ADDRESS_SPACE_FACTOR + _ADDRESS_SPACE_MORE))
    if tier in (tiers.T2_MINUS, tiers.T1):  # a guest's kernel does not count processes
        found.append((resource.RLIMIT_NPROC, limits.processes + _others_of_this_user(tier)))
    return [
        (number, value if (most := _highest(number)) == resource.RLIM_INFINITY else min(value, most))
        for number, value in found
    ]


@functools.cache
def _highest(number: int) -> int:
    """What this program may allow, which does not change while it lives."""
    most = resource.getrlimit(number)[1]
    if number == resource.RLIMIT_NOFILE and most != resource.RLIM_INFINITY:
        # Fewer than the isolation program may have on their way: the kernel counts both for one user.
        return most // 2
    return most


@functools.cache
def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())


def _others_of_this_user(tier: str) -> int:
    """Threads that the kernel will count against the jail's process limit though they are not in it.

    Inside a user namespace only its own are counted (since Linux 5.14), so there it is
    the first process alone.
    """
    if tiers.has_namespaces(tier) and _kernel() >= (5, 14):
        return 1
    uid = os.getuid()
    if uid == 0:
        return 1  # jails have a uid of their own then
    count = 0
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid == uid:
                count += len(os.listdir(f"/proc/{entry.name}/task"))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return count


def affinity(processors: list[int], millicores: int, slot: int) -> set[int]:
    """Which CPUs a job may use where no cgroup shares them out: as many as it may have, spread over slots."""
    count = min(len(processors), max(1, -(-millicores // 1000)))
    return {processors[(slot * count + position) % len(processors)] for position in range(count)}


def memory(content: bytes) -> int:
    """A descriptor that holds `content`, for a reader who reads it once and for himself."""
    descriptor = os.memfd_create("thane", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sealed_memory(content: bytes) -> int:
    """A descriptor to read `content` from, which nobody can change or grow."""
    writable = memory(content)
    try:
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(writable, fcntl.F_ADD_SEALS, seals)
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)


def source_name(request: Request) -> str:
    return "main.py" if request.language == "python" else "main.sh"


def standard_input(request: Request) -> int:
    if request.stdin:
        return sealed_memory(request.stdin)
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def plan(host: Host, request: Request, tier: str, place: Place, slot: int) -> dict[str, object]:
    """What the program's process is told, but for its descriptors."""
    inside = tier != tiers.T1
    workspace, code = (root.WORKSPACE, root.CODE) if inside else (place.workspace, place.code)
    cpus = affinity(host.processors, request.limits.cpu_millicores, slot) if tier == tiers.T2_MINUS else set()
    return {
        "language": request.language,
        "source": f"{code}/{source_name(request)}",
        "workspace": workspace,
        "shell": host.interpreter.shell,
        "rlimits": resource_limits(request.limits, tier),
        "processors": sorted(cpus),
        "env": {
            "PATH": root.PATH,
            "HOME": workspace,
            "TMPDIR": "/tmp" if inside else place.tmp,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # For the interpreters that it starts; its own has its path already.
            **({"PYTHONPATH": root.PACKAGES} if request.template is not None else {}),
            **request.env,
        },
    }


def start_confined(host: Host, request: Request, place: Place, slot: int) -> Launched:
    """Fork a jail of tier T1. Its code and input files are in `place` already."""
    pipes = {name: os.pipe() for name in ("stdout", "stderr", "status", "control", "diagnostics")}
    control_read, control_write = pipes.pop("control")
    theirs = {name: ends[1] for name, ends in pipes.items()}
    theirs |= {"control": control_read, "stdin": standard_input(request)}
    ours = {name: ends[0] for name, ends in pipes.items()}
    kept = {name: theirs[name] for name in ("stdin", "stdout", "stderr", "status", "control")}
    spec = sealed_memory(marshal.dumps({**plan(host, request, tiers.T1, place, slot), **kept}))
    uid = host.uid(slot)

    def supervisor() -> None:
        os.dup2(theirs["diagnostics"], 2)  # first: from here on a failure has somebody to tell it to
        os.sched_setaffinity(0, affinity(host.processors, request.limits.cpu_millicores, slot))
        spawn.be_first_to_go()
        confined.supervise(host, place, uid=uid, spec=spec, kept=kept)

    pid = spawn.fork(supervisor)
    pidfd = os.pidfd_open(pid)
    for descriptor in (*theirs.values(), spec):
        os.close(descriptor)
    return Launched(pid, pidfd, control=control_write, **ours)
