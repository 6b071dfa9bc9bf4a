"""The clock: is it kept right, does it run forward, is it behind what was written already."""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from thane.kernel.ports.machine import Finding, Grade

AREA: Final = "clock"
UNSYNCHRONISED: Final = 0x0040  # STA_UNSYNC of adjtimex(2)
NANOSECONDS: Final = 0x2000  # STA_NANO: `offset` counts nanoseconds
SKEW_SECONDS: Final = 2.0
READINGS: Final = 20_000
SYNCHRONISE: Final = "sudo timedatectl set-ntp true"
OTHER_SOURCE: Final = "echo hpet | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource"


class _Timex(ctypes.Structure):
    """The beginning of `struct timex` (adjtimex(2)), which is all that is read here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class Kept(NamedTuple):
    """What the kernel says of its clock: whether somebody keeps it right, how far off it may be, in µs."""

    synchronised: bool
    offset_us: float
    most_error_us: int


def clock(path: Path, written: Sequence[Path]) -> list[Finding]:
    """Look at the clock. `path` is a folder to write in, `written` are files that Thane wrote before."""
    made = [synchronised(kernel_clock()), forward(time.monotonic_ns)]
    newest = max((p.stat().st_mtime for p in written if p.exists()), default=0.0)
    made.append(not_behind(time.time(), newest))
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"x")
            file.flush()
            made.append(of_disk(time.time(), os.fstat(file.fileno()).st_mtime))
    except OSError:
        pass  # what cannot be written to is the disk's finding
    return made


def kernel_clock() -> Kept | None:
    """None where the kernel does not say."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    state = _Timex()
    if adjtimex(ctypes.byref(state)) < 0:
        return None
    offset = state.offset / 1000 if state.status & NANOSECONDS else state.offset
    return Kept(not state.status & UNSYNCHRONISED, offset, state.maxerror)


def synchronised(kept: Kept | None) -> Finding:
    """Whether somebody keeps the clock right."""
    if kept is None:
        return _finding("synchronised", Grade.NOTE, "the kernel does not say whether its clock is kept right")
    if not kept.synchronised:
        detail = "nobody keeps this clock right, so the ledger's times are this machine's word alone"
        return _finding("synchronised", Grade.WARNING, detail, SYNCHRONISE)
    detail = f"off by {abs(kept.offset_us) / 1000:.1f} ms, at most {kept.most_error_us / 1000:.0f} ms"
    grade = Grade.WARNING if kept.most_error_us > SKEW_SECONDS * 1e6 else Grade.OK
    return _finding("synchronised", grade, detail, SYNCHRONISE if grade is Grade.WARNING else "")


def forward(read: Callable[[], int]) -> Finding:
    """Whether the clock for durations never runs back."""
    last = read()
    for _ in range(READINGS):
        now = read()
        if now < last:
            detail = f"the monotonic clock ran back by {last - now} ns: time limits cannot be trusted here"
            return _finding("monotonic", Grade.FAILURE, detail, OTHER_SOURCE)
        last = now
    return _finding("monotonic", Grade.OK, f"runs forward, in {READINGS} readings")


def not_behind(now: float, newest: float) -> Finding:
    """Whether what Thane wrote lies in the past."""
    ahead = newest - now
    if ahead > SKEW_SECONDS:
        detail = f"the clock is {ahead:.0f} s behind what was written in the data folder already"
        return _finding("past", Grade.FAILURE, detail, SYNCHRONISE)
    return _finding("past", Grade.OK, "nothing was written in the future")


def of_disk(now: float, stamped: float) -> Finding:
    """Whether the file system's clock is this machine's."""
    skew = abs(stamped - now)
    if skew > SKEW_SECONDS:
        detail = f"the disk's clock is off by {skew:.0f} s: it belongs to another machine"
        return _finding("disk's clock", Grade.WARNING, detail, SYNCHRONISE)
    return _finding("disk's clock", Grade.OK, "agrees")


def _finding(check: str, grade: Grade, detail: str, remedy: str = "") -> Finding:
    return Finding(area=AREA, check=check, grade=grade, detail=detail, remedy=remedy)
