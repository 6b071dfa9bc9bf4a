"""Start one job's jail: its descriptors, its plan, and the process that becomes it.

Knows how the two kinds of jail are entered. What happens afterwards is `execution`'s.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import resource
from dataclasses import dataclass

from thane.isolation import confined, jail, seccomp, spawn, tiers
from thane.isolation.cgroups import Group
from thane.isolation.host import Host
from thane.isolation.request import Request
from thane.isolation.stage import Place

_OPEN_FILES = 1024
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
    info: int  # bwrap tells the first process's pid there
    diagnostics: int  # what bwrap and the jail's first process complain about


def resource_limits(request: Request, tier: str) -> list[tuple[int, int]]:
    """The rlimits that the program's first process takes on, for itself and its children."""
    limits = request.limits
    processors = max(1, -(-limits.cpu_millicores // 1000))
    seconds = -(-limits.timeout_ms // 1000) * processors + _CPU_MARGIN
    found = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.disk_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_STACK, _STACK),
        (resource.RLIMIT_MEMLOCK, _LOCKED_MEMORY),
        (resource.RLIMIT_CPU, seconds),
    ]
    if tier != tiers.T2:
        found.append((resource.RLIMIT_AS, limits.memory_bytes * _ADDRESS_SPACE_FACTOR + _ADDRESS_SPACE_MORE))
        found.append((resource.RLIMIT_NPROC, limits.processes + _others_of_this_user(tier)))
    highest = {number: resource.getrlimit(number)[1] for number, _ in found}
    return [
        (number, value if highest[number] == resource.RLIM_INFINITY else min(value, highest[number]))
        for number, value in found
    ]


def _others_of_this_user(tier: str) -> int:
    """Threads that the kernel will count against the jail's process limit though they are not in it.

    Inside a user namespace only its own are counted (since Linux 5.14), so there it is
    the first process alone.
    """
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if tiers.has_namespaces(tier) and release >= (5, 14):
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


def sealed_memory(content: bytes) -> int:
    """A descriptor to read `content` from, which nobody can change or grow."""
    writable = os.memfd_create("thane", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(writable, view) :]
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(writable, fcntl.F_ADD_SEALS, seals)
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)


def source_name(request: Request) -> str:
    return "main.py" if request.language == "python" else "main.sh"


def _environment(request: Request, tier: str, place: Place) -> dict[str, str]:
    inside = tiers.has_namespaces(tier)
    return {
        "PATH": jail.PATH,
        "HOME": jail.WORKSPACE if inside else place.workspace,
        "TMPDIR": "/tmp" if inside else place.tmp,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **request.env,
    }


def start(host: Host, request: Request, tier: str, place: Place, group: Group | None, slot: int) -> Launched:
    """Fork the jail. Its code and input files are in `place` already."""
    inside = tiers.has_namespaces(tier)
    stdin = (
        sealed_memory(request.stdin) if request.stdin else os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    )
    pipes = {name: os.pipe() for name in ("stdout", "stderr", "status", "control", "info", "diagnostics")}
    control_read, control_write = pipes.pop("control")
    theirs = {name: ends[1] for name, ends in pipes.items()} | {"control": control_read, "stdin": stdin}
    ours = {name: ends[0] for name, ends in pipes.items()}
    spec = sealed_memory(
        marshal.dumps(
            {
                "language": request.language,
                "source": f"{jail.CODE if inside else place.code}/{source_name(request)}",
                "workspace": jail.WORKSPACE if inside else place.workspace,
                "shell": host.interpreter.shell,
                "env": _environment(request, tier, place),
                "rlimits": resource_limits(request, tier),
                **{name: theirs[name] for name in ("stdin", "stdout", "stderr", "status", "control")},
            }
        )
    )
    filter_program = seccomp.build(tiers.rules(tier))
    uid = host.uid(slot)
    parent = os.getpid()

    def prepare() -> None:
        os.dup2(theirs["diagnostics"], 2)  # first: from here on a failure has somebody to tell it to
        if group is not None:
            group.join()
        else:
            os.sched_setaffinity(0, affinity(host.processors, request.limits.cpu_millicores, slot))
        spawn.be_first_to_go()

    def namespaces() -> None:
        prepare()
        if uid is not None:
            spawn.take_identity(uid)
        spawn.die_with_parent(parent)
        filter_descriptor = sealed_memory(filter_program)
        passed = [value for name, value in theirs.items() if name != "diagnostics"]
        for descriptor in (*passed, spec, filter_descriptor):
            os.set_inheritable(descriptor, True)
        os.dup2(theirs["diagnostics"], 1)
        command = jail.command(host, place, seccomp=filter_descriptor, info=theirs["info"], spec=spec)
        os.execve(command[0], command, {})

    def supervisor() -> None:
        prepare()
        kept = {name: theirs[name] for name in ("stdin", "stdout", "stderr", "status", "control")}
        confined.supervise(host, place, uid=uid, spec=spec, filter_program=filter_program, kept=kept)

    pid = spawn.fork(namespaces if inside else supervisor)
    pidfd = os.pidfd_open(pid)
    for descriptor in (*theirs.values(), spec):
        os.close(descriptor)
    return Launched(pid, pidfd, control=control_write, **ours)
