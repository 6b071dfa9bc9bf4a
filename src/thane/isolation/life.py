"""The program's life: one per user and socket, here as long as it has clients.

Lock, socket, the wait for the last client, and the end. A second starter finds the
lock taken and leaves when the first one answers.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import socket
import time
from pathlib import Path

from thane.isolation.jobs import Jobs
from thane.isolation.nursery import Nursery
from thane.isolation.probe import Probe
from thane.isolation.sandboxes import Sandboxes
from thane.isolation.server import Connection, peer_may_speak
from thane.isolation.templates import Templates

_LOCK_SECONDS = 10.0
_LOCK_PAUSE = 0.02
_LONGEST_PATH = 107


def _address(path: Path) -> tuple[str, int | None]:
    """What to bind or connect to, and a descriptor to close after.

    A path that is too long for a socket goes through its folder's descriptor.
    """
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return str(path), None
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{folder}/{path.name}", folder


def somebody_answers(path: Path) -> bool:
    address, folder = _address(path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(address)
    except OSError:
        return False
    finally:
        if folder is not None:
            os.close(folder)
    return True


def take_lock(path: Path) -> int | None:
    """The lock's descriptor, or None if another program has it and answers on the socket."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if somebody_answers(path):
            os.close(lock)
            return None
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path}.lock is held by a process that does not answer on {path}")
        time.sleep(_LOCK_PAUSE)


def listen(path: Path) -> socket.socket:
    """The socket, for its owner (and root) alone. What a dead program left at the path is removed."""
    address, folder = _address(path)
    try:
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            listener.bind(address)
        finally:
            os.umask(before)
        listener.listen(128)
    finally:
        if folder is not None:
            os.close(folder)
    return listener


class Life:
    def __init__(
        self,
        path: Path,
        jobs: Jobs,
        sandboxes: Sandboxes,
        probe: Probe,
        nursery: Nursery,
        templates: Templates,
        *,
        idle: float,
        in_user_namespace: bool,
    ) -> None:
        self._path = path
        self._jobs = jobs
        self._sandboxes = sandboxes
        self._probe = probe
        self._nursery = nursery
        self._templates = templates
        self._idle = idle
        self._in_user_namespace = in_user_namespace
        self._clients: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def live(self, listener: socket.socket) -> None:
        """Serve until the last client has been gone for the idle time, or a signal says stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        self._wait_for_clients()
        accepting = asyncio.create_task(self._accept(listener))
        await self._over.wait()
        # First the name, so that a new starter does not find us; then the socket.
        self._path.unlink(missing_ok=True)
        accepting.cancel()
        listener.close()
        await self._jobs.stop_all()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            if not peer_may_speak(connection, in_user_namespace=self._in_user_namespace):
                connection.close()
                continue
            task = asyncio.create_task(self._serve(connection))
            self._clients.add(task)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                self._nursery.wake()
            task.add_done_callback(self._client_left)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        await Connection(reader, writer, self._jobs, self._sandboxes, self._probe).serve()

    def _client_left(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        if not self._clients:
            self._nursery.rest()
            self._templates.rest()
            self._wait_for_clients()

    def _wait_for_clients(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(
            max(self._idle, self._sandboxes.patience), self._over.set
        )
