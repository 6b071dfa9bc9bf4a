"""Watches a jail that has no cgroup: memory of all its processes, their number, its folder's size.

It only measures; the execution decides and kills. What no process maps (memfd, System V
segments) would escape it, so the seccomp filter denies making it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

PERIOD = 0.025
_PF_EXITING = 0x4  # of linux/sched.h
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Below this share of the limit the resident sum, which is cheap and never less than PSS, is enough.
_CHEAP_SHARE = 0.7


def _resident(proc: str, pid: str) -> int:
    descriptor = os.open(f"{proc}/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 256).split()[1]) * _PAGE
    finally:
        os.close(descriptor)


def _proportional(proc: str, pid: str) -> int:
    with open(f"{proc}/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def memory(proc: str, pids: list[str], limit: int) -> int:
    """Bytes that the processes use together; shared pages once, if it matters."""

    def total(measure: Callable[[str, str], int]) -> int:
        found = 0
        for pid in pids:
            try:
                found += measure(proc, pid)
            except PermissionError:
                found += _resident(proc, pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended between two looks
        return found

    resident = total(_resident)
    if resident < limit * _CHEAP_SHARE:
        return resident
    return total(_proportional)


def in_namespace(proc: str) -> list[str]:
    """Pids in a jail's own /proc, seen through the jail's root."""
    return [name for name in os.listdir(proc) if name.isdigit()]


def is_exiting(pid: int) -> bool:
    """Whether the kernel is taking it down already: then it may refuse to show what it shows otherwise."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            flags = int(file.read().rpartition(")")[2].split()[6])
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(flags & _PF_EXITING)


def descendants(root: int) -> list[int]:
    """Living processes below `root`, by a walk of the host's /proc. For jails without namespaces.

    All of them are looked at, whoever seems to own them: a process that makes itself
    not dumpable looks like root's.
    """
    parents: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            with open(f"/proc/{entry.name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            parents[int(entry.name)] = int(fields[1])
    found: list[int] = []
    level = {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found += level
    return found
