"""What a job used, read from outside the jail.

Sources, by preference: the job's cgroup, /proc of the jail's first process, that
process's own report. A value that cannot be read is left as it was, never guessed.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass

from thane.isolation import opening

_LONG_PATH = 2000
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
# What a folder that was removed, exchanged or closed again between two looks answers. The last look is exact.
_EXCHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)


def cpu_us_of(stat: str) -> int:
    """CPU time of a process and of what it has reaped, out of its /proc/PID/stat; in clock ticks' steps."""
    return sum(int(field) for field in stat.rpartition(")")[2].split()[11:15]) * _TICK_US


@dataclass
class Usage:
    wall_us: int = 0
    cpu_us: int = 0
    peak_memory_bytes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    network_in_bytes: int = 0
    network_out_bytes: int = 0
    network_in_packets: int = 0
    network_out_packets: int = 0
    workspace_bytes: int = 0

    def as_dict(self) -> dict[str, int]:
        return dict(vars(self))


def read_network(usage: Usage, proc: str) -> None:
    """Sum of the jail's interfaces except its own loopback."""
    with open(f"{proc}/net/dev") as file:
        lines = file.read().splitlines()[2:]
    totals = [0, 0, 0, 0]
    for line in lines:
        name, _, rest = line.partition(":")
        if name.strip() == "lo":
            continue
        numbers = rest.split()
        for position, column in enumerate((0, 8, 1, 9)):
            totals[position] += int(numbers[column])
    (
        usage.network_in_bytes,
        usage.network_out_bytes,
        usage.network_in_packets,
        usage.network_out_packets,
    ) = totals


def used_of_file_system(path: str) -> int:
    """Bytes taken in the file system at `path`; for a workspace that is a tmpfs of its own."""
    figures = os.statvfs(path)
    return (figures.f_blocks - figures.f_bfree) * figures.f_frsize


def used_below(paths: Iterable[str]) -> tuple[int, int]:
    """Bytes and entries that what lies below `paths` takes on the disk, however deep. For workspaces in
    plain folders; a file with several names counts once for each."""
    total = count = 0
    with contextlib.ExitStack() as kept:
        waiting: list[tuple[int, bytes]] = []
        for path in paths:
            root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            kept.callback(os.close, root)
            waiting.append((root, b"."))
        while waiting:
            base, below = waiting.pop()
            try:
                folder = opening.folder_beneath(base, below)
            except OSError as error:
                if error.errno not in _EXCHANGED:
                    raise
                continue
            if len(below) > _LONG_PATH:  # the kernel takes no longer ones: go on from here
                base, below = folder, b"."
                kept.callback(os.close, folder)
            used, entries, folders = _used_in(folder)
            if base != folder:
                os.close(folder)
            total, count = total + used, count + entries
            waiting += [(base, below + b"/" + name) for name in folders]
    return total, count


def _used_in(folder: int) -> tuple[int, int, list[bytes]]:
    """Bytes and entries of one folder, and the names of the folders in it."""
    total = count = 0
    folders: list[bytes] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            try:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
            except FileNotFoundError:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(os.fsencode(entry.name))
    return total, count, folders


def parse_report(text: str) -> dict[str, int]:
    """The first process's report: `key number` lines. What is not of that form is dropped.

    It is written by a trusted process that shares the jail with hostile ones, so it is
    used for the exit status and where no better source exists, and never for a limit.
    """
    report: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            report[key] = int(value)
    return report
