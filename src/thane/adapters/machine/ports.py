"""The port that the server would listen on: is it free, and if not, who has it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from thane.kernel.ports.machine import Finding, Grade

AREA: Final = "ports"
LISTENING: Final = "0A"  # TCP_LISTEN in /proc/net/tcp


def port(host: str, number: int, ours: int | None) -> Finding:
    """Look at `host:number`. `ours` is the process that owns the data folder, if one does."""
    shown = f"{host}:{number}"
    if number == 0:
        return _finding(shown, Grade.OK, "the system chooses one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as fault:
        return _taken(shown, number, ours) if fault.errno == errno.EADDRINUSE else _impossible(shown, fault)
    return _finding(shown, Grade.OK, "free")


def _taken(shown: str, number: int, ours: int | None) -> Finding:
    holder = who_listens(number)
    if holder is not None and holder == ours:
        return _finding(shown, Grade.OK, f"served by process {holder}, which owns the data folder")
    who = "a process of another user" if holder is None else f"process {holder} ({_name(holder)})"
    return _finding(shown, Grade.WARNING, f"taken by {who}", f"thane serve --port {number + 1}")


def _impossible(shown: str, fault: OSError) -> Finding:
    if fault.errno == errno.EACCES:
        detail = "this user may not listen on a port below 1024"
        return _finding(shown, Grade.FAILURE, detail, "thane serve --port 8090")
    detail = f"cannot be listened on: {fault.strerror or fault}"
    return _finding(shown, Grade.FAILURE, detail, "thane serve --host 127.0.0.1")


def who_listens(number: int) -> int | None:
    """The process that listens on a TCP port; None where that may not be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == number:
                inodes.add(f"socket:[{fields[9]}]")
    for process in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        if not inodes.isdisjoint(_open_files(process)):
            return int(process.name)
    return None


def _open_files(process: Path) -> Iterator[str]:
    """What a process has open, as far as that may be seen: it may be another user's, or just ending."""
    with suppress(OSError):
        for fd in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(fd.readlink())


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return "which has just ended"


def _finding(check: str, grade: Grade, detail: str, remedy: str = "") -> Finding:
    return Finding(area=AREA, check=check, grade=grade, detail=detail, remedy=remedy)
