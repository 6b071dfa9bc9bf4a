"""What a job used, read from outside the jail.

Sources, by preference: the job's cgroup, /proc of the jail's first process, that
process's own report. A value that cannot be read is left as it was, never guessed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass


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
    """Bytes and entries that what lies below `paths` takes on the disk. For workspaces in plain folders."""
    total = count = 0
    waiting = list(paths)
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except (FileNotFoundError, PermissionError):
            continue  # removed, or closed to us, between two looks
        count += len(entries)
        for entry in entries:
            try:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
            except FileNotFoundError:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
    return total, count


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
