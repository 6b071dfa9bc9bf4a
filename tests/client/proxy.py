"""A proxy that does to connections what networks do: one plan for each connection, in their order."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

PATIENCE = 60.0
PART = 1 << 16
Plan: TypeAlias = "Callable[[Proxy, socket.socket], None]"


class Proxy:
    """Listens on a port of its own. `plans` are used up; further connections are passed through."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.plans: list[Plan] = []
        self.connections = 0
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        self.start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        deadline = time.monotonic() + PATIENCE
        while alive := [thread for thread in self._threads if thread.is_alive()]:
            assert time.monotonic() < deadline, alive
            # Again and again: a thread may just be opening another one.
            self.hang_up()
            _end(self._listener)
            alive[0].join(0.05)
        # Only now, so that no thread finds its socket's number in another one's hands.
        for one in (self._listener, *self._open):
            one.close()

    def start(self, work: Callable[[], None]) -> None:
        """Work in a thread of its own, which is waited for at the end."""
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            client.settimeout(PATIENCE)
            self._open.append(client)
            self.connections += 1
            plan = self.plans.pop(0) if self.plans else through
            self.start(lambda plan=plan, client=client: self._follow(plan, client))  # type: ignore[misc]

    def _follow(self, plan: Plan, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            plan(self, client)
        _end(client)

    def hang_up(self) -> None:
        """End every connection that is open."""
        for one in tuple(self._open):
            _end(one)

    def upstream(self) -> socket.socket:
        """A connection to the server."""
        made = socket.create_connection(self._upstream, timeout=PATIENCE)
        self._open.append(made)
        return made

    def relay(self, client: socket.socket, most: int | None) -> None:
        """Both ways until one side ends; `most` bytes of answers at most."""
        server = self.upstream()
        self.start(lambda: _copy(client, server))
        left = most
        while (left is None or left > 0) and (part := server.recv(PART)):
            part = part if left is None else part[:left]
            left = None if left is None else left - len(part)
            client.sendall(part)
        _end(server)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(PART):
            sink.sendall(part)
    _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def through(proxy: Proxy, client: socket.socket) -> None:
    """Nothing is wrong."""
    proxy.relay(client, None)


def refused(proxy: Proxy, client: socket.socket) -> None:
    """The connection ends before anything is read."""


def answer_lost(proxy: Proxy, client: socket.socket) -> None:
    """The server does what was asked; then the connection breaks, before a byte of its answer."""
    server = proxy.upstream()
    proxy.start(lambda: _copy(client, server))
    server.recv(1)
    _end(server)


def cut(most: int) -> Plan:
    """The connection breaks after so many bytes of answers."""
    return lambda proxy, client: proxy.relay(client, most)


def answers(status: str, *headers: str, body: bytes = b"") -> Plan:
    """Something in front of the server answers by itself."""

    def plan(proxy: Proxy, client: socket.socket) -> None:
        client.recv(PART)
        lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "connection: close"]
        client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return plan


def silent(proxy: Proxy, client: socket.socket) -> None:
    """Takes the request and never answers."""
    proxy.closing.wait(PATIENCE)
