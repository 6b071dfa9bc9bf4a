"""Watches a jail that has no cgroup: memory of all its processes, their number, their sockets and files.

It only measures; the execution decides and kills. What no process maps (memfd, System V
segments and queues) would escape it, so the seccomp filter denies making it. What sockets
hold cannot be measured, so their number is, and each is taken for as full as it can be.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

PERIOD = 0.025
_PF_EXITING = 0x4  # of linux/sched.h
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Below this share of the limit the resident sum, which is cheap and never less than PSS, is enough.
_CHEAP_SHARE = 0.7
_IS_EXITING = 4  # a flag in /proc/PID/stat
_USUAL_BUFFER = 212_992


def _buffer(name: str) -> int:
    try:
        with open(f"/proc/sys/net/core/{name}") as file:
            return int(file.read())
    except FileNotFoundError:  # a container's network need not show it
        return _USUAL_BUFFER


# What a socket can hold at the most: the filter lets nobody enlarge its buffers.
SOCKET_BYTES = _buffer("wmem_default") + _buffer("rmem_default")


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


def most_sockets(limit: int) -> int:
    """How many sockets a jail with so much memory may have: full, they hold as much again."""
    return max(32, limit // SOCKET_BYTES)


def sockets_in_namespace(first: str) -> int:
    """Sockets of the network namespace of `first` (a folder of /proc), those on their way and closed ones
    that still hold something among them."""
    with open(f"{first}/net/sockstat") as file:
        return int(file.readline().split()[2])


@dataclass
class Opened:
    """What processes hold open, counted by their descriptors."""

    sockets: int = 0
    removed_bytes: int = 0  # of files that have no name any more
    hidden: bool = False  # a process does not let us look


def opened(pids: list[int]) -> Opened:
    found = Opened()
    seen: set[tuple[int, int]] = set()
    for pid in pids:
        try:
            descriptors = [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
        except PermissionError:
            found.hidden = found.hidden or not _is_exiting(pid)
            continue
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended between two looks
        for descriptor in descriptors:
            try:
                status = os.stat(descriptor)
            except OSError:
                continue  # closed between two looks
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if stat.S_ISSOCK(status.st_mode):
                found.sockets += 1
            elif stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                found.removed_bytes += status.st_blocks * 512
    return found


def _is_exiting(pid: int) -> bool:
    """Whether it has ended or is ending: then its descriptors look like root's."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] in "ZX" or bool(int(fields[6]) & _IS_EXITING)


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
