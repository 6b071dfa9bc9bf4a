"""The program's ends of one running jail, in the event loop.

Collects the output streams, the first process's words and the exit, and closes
everything once the jail is gone. Decides nothing.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from thane.isolation.launch import Launched
from thane.isolation.output import Output

_MOST_COMPLAINTS = 1 << 16
_HANDED_ON_SECONDS = 2.0


@dataclass(frozen=True)
class Remains:
    """What is known of a jail once it has ended."""

    wait_status: int
    consumed_us: int  # CPU time of the process that we are the parent of, and of what it has reaped
    report: str
    complaints: str
    stdout_truncated: bool
    stderr_truncated: bool


class Attached:
    """Follows a jail from its start. `detach` must be called once `exited` is set or it was killed."""

    def __init__(
        self, jail: Launched, limit: int, send: Callable[[str, bytes], None], *, started: bool
    ) -> None:
        self._jail = jail
        self._loop = asyncio.get_running_loop()
        self._stdout = Output(jail.stdout, limit, lambda data: send("stdout", data))
        self._stderr = Output(jail.stderr, limit, lambda data: send("stderr", data))
        self._complaints = bytearray()
        self._diagnostics = Output(jail.diagnostics, _MOST_COMPLAINTS, self._complaints.extend)
        self._words = bytearray()
        self.started = asyncio.Event()
        self.exited = asyncio.Event()
        self.turned = asyncio.Event()  # started or exited, whichever comes first
        os.set_blocking(jail.status, False)
        if started:
            self.started.set()
            self.turned.set()
        self._loop.add_reader(jail.status, self._status_readable)
        self._loop.add_reader(jail.pidfd, self._has_exited)

    def _status_readable(self) -> bool:
        """Take what the first process says; False when there is nothing more now."""
        try:
            data = os.read(self._jail.status, 4096)
        except BlockingIOError:
            return False
        self._words += data
        if self._words.startswith(b"started\n"):
            self.started.set()
            self.turned.set()
        if not data:
            self._loop.remove_reader(self._jail.status)
        return bool(data)

    def _has_exited(self) -> None:
        self._loop.remove_reader(self._jail.pidfd)
        self.exited.set()
        self.turned.set()

    def stop(self) -> None:
        """Tell the first process to end everything: closing the pipe is the message."""
        if self._jail.control >= 0:
            os.close(self._jail.control)
            self._jail.control = -1

    def detach(self) -> Remains:
        """Reap the jail, take its last words and close all descriptors. Waits if it still lives."""
        wait_status, consumed = _reaped(self._jail.pid)
        self._loop.remove_reader(self._jail.pidfd)
        for stream in (self._stdout, self._stderr, self._diagnostics):
            stream.drain()
        while self._status_readable():
            pass
        self._loop.remove_reader(self._jail.status)
        self.stop()
        for descriptor in (self._jail.status, self._jail.pidfd):
            os.close(descriptor)
        return Remains(
            wait_status=wait_status,
            consumed_us=int((consumed.ru_utime + consumed.ru_stime) * 1e6),
            report=self._words.decode("ascii", "replace"),
            complaints=self._complaints.decode("utf-8", "replace").strip(),
            stdout_truncated=self._stdout.truncated,
            stderr_truncated=self._stderr.truncated,
        )


def _reaped(pid: int) -> tuple[int, resource.struct_rusage]:
    """Reap the jail: (wait status, what it used).

    It becomes our child when its midwife has ended altogether. A jail can be quicker than
    that, as the midwife closes the gate before the kernel hands its children on.
    """
    deadline = time.monotonic() + _HANDED_ON_SECONDS
    while True:
        try:
            _, status, consumed = os.wait4(pid, 0)
        except ChildProcessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.0005)
        else:
            return status, consumed
