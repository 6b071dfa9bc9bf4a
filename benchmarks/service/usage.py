"""What a server used, looked at from outside: CPU time, memory, pages in its write-ahead log."""

from __future__ import annotations

import os
import struct
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(") ")[2].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def memory_mb(pids: list[int]) -> tuple[float, float]:
    """(resident, proportional) memory of these processes together, in MB."""
    sums = {"Rss": 0, "Pss": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name = line.partition(":")[0]
            if name in sums:
                sums[name] += int(line.split()[1])
    return sums["Rss"] / 1024, sums["Pss"] / 1024


def pages_per_commit(wal: Path, newest: int = 4000) -> tuple[float, int]:
    """(pages a commit, commits looked at) among the newest frames of a write-ahead log.

    https://www.sqlite.org/fileformat2.html#walformat: a frame whose second word is not zero ends a
    transaction; frames of an earlier round of the file have other salts.
    """
    data = wal.read_bytes()
    size = struct.unpack(">I", data[8:12])[0]
    salts = data[16:24]
    commits: list[int] = []
    frames = 0
    for at in range(32, len(data) - 24 - size + 1, 24 + size):
        if data[at + 8 : at + 16] != salts:
            break
        frames += 1
        if struct.unpack(">I", data[at + 4 : at + 8])[0]:
            commits.append(frames)
    if len(commits) < 2:
        return 0.0, 0
    late = [c for c in commits if c >= frames - newest]
    return (late[-1] - late[0]) / max(1, len(late) - 1), len(late) - 1
