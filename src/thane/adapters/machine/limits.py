"""Limits of the process and its control group: files, processes, memory."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

from thane.kernel.ports.machine import Finding, Grade

AREA: Final = "limits"
PROCESSES: Final = 1024
MIB: Final = 1 << 20
UNLIMITED: Final = "max"


def limits(slots: int, memory_mb: int, open_files: tuple[int, int]) -> list[Finding]:
    """Look at what this process may use.

    `slots` programs of `memory_mb` MiB run at one time, and the server wants so many
    `open_files`, and must have (the second) so many.
    """
    group = group_of(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    made = [files(resource.getrlimit(resource.RLIMIT_NOFILE)[1], *open_files)]
    made.append(processes(resource.getrlimit(resource.RLIMIT_NPROC)[0]))
    made.append(file_size(resource.getrlimit(resource.RLIMIT_FSIZE)[0]))
    made.append(memory(available(Path("/proc/meminfo")), slots, memory_mb))
    made.append(control_group(group, slots, memory_mb))
    return made


def files(hard: int, wanted: int, least: int) -> Finding:
    """Open files: each connection is one. The server raises its own limit as far as it may."""
    if _enough(hard, wanted):
        return _finding("open files", Grade.OK, f"{_number(hard)} allowed, {wanted} wanted")
    remedy = f"sudo prlimit --nofile={wanted} --pid $$"
    if not _enough(hard, least):
        return _finding("open files", Grade.FAILURE, f"{hard} allowed: the server cannot start", remedy)
    detail = f"{hard} allowed and {wanted} wanted, so fewer connections are taken than http.max_connections"
    return _finding("open files", Grade.WARNING, detail, remedy)


def processes(soft: int) -> Finding:
    """Processes of this user: each jail needs some."""
    if _enough(soft, PROCESSES):
        return _finding("processes", Grade.OK, _number(soft))
    return _finding(
        "processes", Grade.WARNING, f"{soft} for all that this user runs", f"ulimit -u {PROCESSES * 4}"
    )


def file_size(soft: int) -> Finding:
    """The longest file: the store is one."""
    if soft == resource.RLIM_INFINITY:
        return _finding("file size", Grade.OK, _number(soft))
    return _finding(
        "file size", Grade.WARNING, f"the store cannot grow beyond {soft >> 20} MiB", "ulimit -f unlimited"
    )


def available(table: Path) -> int | None:
    """Bytes of memory that can be had, by a table like /proc/meminfo; None if it does not say."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def memory(free: int | None, slots: int, memory_mb: int) -> Finding:
    """Whether all slots can have their default memory at one time."""
    if free is None:
        return _finding("memory", Grade.NOTE, "the kernel does not say how much can be had")
    wanted = slots * memory_mb
    detail = f"{free // MIB} MiB to be had; {slots} programs at one time may take {wanted} MiB"
    if free < wanted * MIB:
        return _finding("memory", Grade.WARNING, detail, fewer(free // MIB, memory_mb))
    return _finding("memory", Grade.OK, detail)


def fewer(room_mb: int, memory_mb: int) -> str:
    """The setting with which what runs at one time fits into so much memory."""
    return f"export THANE_ISOLATION_SLOTS={max(1, room_mb // memory_mb)}"


def group_of(membership: Path, root: Path) -> Path | None:
    """The folder of this process's control group (version 2); None if there is none to be seen."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    names = [line[3:] for line in lines if line.startswith("0::")]
    folder = root / names[0].lstrip("/") if names else None
    return folder if folder is not None and (folder / "cgroup.procs").exists() else None


def control_group(group: Path | None, slots: int, memory_mb: int) -> Finding:
    """What the group that this process is in may use."""
    if group is None:
        return _finding("control group", Grade.OK, "none of version 2 limits this process")
    most, pids, used = (_read(group / name) for name in ("memory.max", "pids.max", "pids.current"))
    if most is not None and most < slots * memory_mb * MIB:
        detail = f"{group} may use {most // MIB} MiB, and {slots} programs may want {slots * memory_mb} MiB"
        return _finding("control group", Grade.WARNING, detail, fewer(most // MIB, memory_mb))
    if pids is not None and pids - (used or 0) < PROCESSES // 4:
        detail = f"{group} may have {pids} processes and has {used or 0}"
        return _finding("control group", Grade.WARNING, detail, f"echo 4096 | sudo tee {group}/pids.max")
    return _finding("control group", Grade.OK, f"{group} leaves enough")


def _read(path: Path) -> int | None:
    """A limit of a control group; None for no limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return None if text == UNLIMITED else int(text)


def _enough(value: int, least: int) -> bool:
    return value == resource.RLIM_INFINITY or value >= least


def _number(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def _finding(check: str, grade: Grade, detail: str, remedy: str = "") -> Finding:
    return Finding(area=AREA, check=check, grade=grade, detail=detail, remedy=remedy)
