"""What a measured server is: one process, the same rows, the same questions."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from benchmarks.service.load import Request

BATCH = 1000
SEEDED = 10 * BATCH
# Of the rows that are seeded, this many are finished: what the list and its total are about.
FINISHED = 1000
NEW = {"purpose": "monthly report"}
UPDATED = {"purpose": "quarterly report"}


class Server:
    """`requests` are by operation; `wal` is the store's write-ahead log."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    first_answer: float
    requests: dict[str, Request]
    wal: Path

    def start(self) -> None:
        """Start it and wait for the first answer."""
        raise NotImplementedError

    def seed(self) -> None:
        """Make the rows and the requests."""
        raise NotImplementedError

    def batch(self) -> float:
        """Create BATCH rows in one request, as one unit; seconds."""
        raise NotImplementedError

    def settings(self) -> list[str]:
        """What it runs with, for people."""
        raise NotImplementedError

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])
