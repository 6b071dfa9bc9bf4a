"""The disk of the data folder: room, inodes, what kind of file system, how fast it makes things last."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from thane.kernel.ports.machine import Finding, Grade

AREA: Final = "disk"
GIB: Final = 1 << 30
LOW_BYTES: Final = GIB
FULL_BYTES: Final = 64 << 20
LOW_INODES: Final = 10_000
SLOW_FSYNC_MS: Final = 50.0
FSYNCS: Final = 9
# SQLite's write-ahead log needs memory that all processes on the file share; these have none.
NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre"})
PASSING: Final = frozenset({"tmpfs", "ramfs"})
OUTSIDE: Final = "docker run -v thane:/data …, with THANE_DATA=/data"
ELSEWHERE: Final = "thane serve --data DIR, with DIR on a local disk"


class Mount(NamedTuple):
    """A mounted file system."""

    place: str
    kind: str
    source: str
    read_only: bool


def disk(path: Path) -> list[Finding]:
    """Look at the disk that holds `path`, an existing folder."""
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    made = [room(path, free), inodes(path, found.f_files, found.f_favail)]
    mount = mount_of(path, Path("/proc/self/mountinfo"))
    if mount is not None:
        made.append(file_system(path, mount))
    made.append(fsync(path))
    return made


def room(path: Path, free: int) -> Finding:
    """Whether there is room."""
    detail = f"{free / GIB:.1f} GiB free for {path}"
    remedy = f"du -xh --max-depth=1 {path} | sort -h"
    if free < FULL_BYTES:
        return _finding("room", Grade.FAILURE, f"{detail}: nothing can be recorded there", remedy)
    if free < LOW_BYTES:
        return _finding("room", Grade.WARNING, f"{detail}: make room before you serve from there", remedy)
    return _finding("room", Grade.OK, detail)


def inodes(path: Path, total: int, free: int) -> Finding:
    """Whether files can be made; some file systems count none."""
    if total == 0:
        return _finding("inodes", Grade.OK, "not counted by this file system")
    if free < LOW_INODES:
        remedy = f"du --inodes -x --max-depth=2 {path} | sort -n | tail"
        return _finding("inodes", Grade.WARNING, f"only {free} more files can be made", remedy)
    return _finding("inodes", Grade.OK, f"{free} more files can be made")


def mount_of(path: Path, table: Path) -> Mount | None:
    """What holds a path, by a table like /proc/self/mountinfo; None if that cannot be read."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    wanted = os.path.realpath(path)
    best: Mount | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, more = before.split(), after.split()
        if len(fields) < 6 or len(more) < 2:
            continue
        place = fields[4].encode("latin-1", "surrogateescape").decode("unicode_escape")  # \040 is a space
        inside = wanted == place or wanted.startswith(place.rstrip("/") + "/")
        # The last of equals: what was mounted over another hides it.
        if inside and (best is None or len(place) >= len(best.place)):
            best = Mount(place, more[0], more[1], "ro" in fields[5].split(","))
    return best


def file_system(path: Path, mount: Mount) -> Finding:
    """Whether this kind of file system can hold a store."""
    detail = f"{mount.kind} at {mount.place}"
    if mount.read_only:
        return _finding(
            "file system", Grade.FAILURE, f"{detail} is read-only", f"mount -o remount,rw {mount.place}"
        )
    if mount.kind in NETWORK or mount.kind.startswith("fuse.sshfs"):
        why = "a network's: the store's write-ahead log and lock do not work on it, and may damage it"
        return _finding("file system", Grade.FAILURE, f"{detail} is {why}", ELSEWHERE)
    if mount.kind in PASSING:
        return _finding("file system", Grade.WARNING, f"{detail} is gone after a restart", ELSEWHERE)
    if mount.kind.startswith("fuse"):
        return _finding("file system", Grade.WARNING, f"{detail} may not keep what was synced", ELSEWHERE)
    if mount.kind == "overlay":
        why = "a container's own layer, which goes with the container"
        return _finding(
            "file system", Grade.WARNING, f"{detail} is {why}", "docker run -v DIR:/data, --data /data"
        )
    return _finding("file system", Grade.OK, detail)


def fsync(path: Path) -> Finding:
    """How long it takes until what was written lasts: with `durability = "full"` each commit waits for it."""
    took = []
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            for _ in range(FSYNCS):
                file.write(bytes(4096))
                file.flush()
                start = time.perf_counter()
                os.fsync(file.fileno())
                took.append((time.perf_counter() - start) * 1000)
    except OSError as fault:
        detail = f"nothing can be written in {path}: {fault.strerror}"
        return _finding("fsync", Grade.FAILURE, detail, f"sudo chown -R $(id -un) {path}")
    return speed(statistics.median(took), max(took))


def speed(median_ms: float, most_ms: float) -> Finding:
    """What a measurement of fsync means."""
    detail = f"{median_ms:.2f} ms in the median, {most_ms:.2f} ms at most"
    if median_ms > SLOW_FSYNC_MS:
        why = f"{detail}: commits with durability full wait so long"
        return _finding("fsync", Grade.WARNING, why, ELSEWHERE)
    return _finding("fsync", Grade.OK, detail)


def _finding(check: str, grade: Grade, detail: str, remedy: str = "") -> Finding:
    return Finding(area=AREA, check=check, grade=grade, detail=detail, remedy=remedy)
