"""The program's ends of one running jail, in the event loop.

Collects the output streams, the first process's words and the exit, and closes
everything once the jail is gone. Decides nothing.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from thane.isolation.launch import Launched
from thane.isolation.output import Output

_MOST_COMPLAINTS = 1 << 16
_HANDED_ON_SECONDS = 2.0


# The last line of the first process's report (`jailed.supervise`): it has reaped everything then.
REPORT_END = b"\nwritten "


@dataclass(frozen=True)
class LastWords:
    """What a jail has said: its first process's report (empty without one), and how its output ended."""

    report: str
    stdout_truncated: bool
    stderr_truncated: bool


@dataclass(frozen=True)
class Remains:
    """What is known of a jail's first process once it has ended."""

    wait_status: int
    consumed_us: int  # CPU time of the process that we are the parent of, and of what it has reaped
    complaints: str


class Attached:
    """Follows a jail from its start. `detach` must be called once `exited` is set or it was killed."""

    def __init__(
        self, jail: Launched, limit: int, send: Callable[[str, bytes], None], *, started: bool
    ) -> None:
        self.jail = jail
        self._loop = asyncio.get_running_loop()
        self._stdout = Output(jail.stdout, limit, lambda data: send("stdout", data))
        self._stderr = Output(jail.stderr, limit, lambda data: send("stderr", data))
        self._complaints = bytearray()
        self._diagnostics = Output(jail.diagnostics, _MOST_COMPLAINTS, self._complaints.extend)
        self._words = bytearray()
        self.started = asyncio.Event()
        self.told = asyncio.Event()  # everything in the jail has ended and been reaped, or `exited`
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
            data = os.read(self.jail.status, 4096)
        except BlockingIOError:
            return False
        self._words += data
        if self._words.startswith(b"started\n"):
            self.started.set()
            self.turned.set()
        if self._words.endswith(b"\n") and REPORT_END in self._words:
            self.told.set()
        if not data:
            self._loop.remove_reader(self.jail.status)
        return bool(data)

    def _has_exited(self) -> None:
        self._loop.remove_reader(self.jail.pidfd)
        self.exited.set()
        self.told.set()
        self.turned.set()

    def stop(self) -> None:
        """Tell the first process to end everything: closing the pipe is the message."""
        if self.jail.control >= 0:
            os.close(self.jail.control)
            self.jail.control = -1

    def end(self) -> None:
        """Kill the first process, if it lives: what it had to say it has said."""
        if not self.exited.is_set():
            os.kill(self.jail.pid, signal.SIGKILL)

    def last_words(self) -> LastWords:
        """What is known once `told` is set. The jail's first process may be about to end still."""
        for stream in (self._stdout, self._stderr):
            stream.drain()
        while self._status_readable():
            pass
        return LastWords(
            report=self._words.decode("ascii", "replace"),
            stdout_truncated=self._stdout.truncated,
            stderr_truncated=self._stderr.truncated,
        )

    def detach(self) -> Remains:
        """Reap the jail and close all descriptors. Waits if it still lives."""
        wait_status, consumed = _reaped(self.jail.pid)
        self._loop.remove_reader(self.jail.pidfd)
        for stream in (self._stdout, self._stderr, self._diagnostics):
            stream.drain()
        self._loop.remove_reader(self.jail.status)
        self.stop()
        for descriptor in (self.jail.status, self.jail.pidfd):
            os.close(descriptor)
        return Remains(
            wait_status=wait_status,
            consumed_us=int((consumed.ru_utime + consumed.ru_stime) * 1e6),
            complaints=self._complaints.decode("utf-8", "replace").strip(),
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
