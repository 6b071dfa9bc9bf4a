"""A connection, with sockets. The twin of `_async/streams.py`, written by hand: only these two differ."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Final

from thane.client.policy import Deadline
from thane.client.problem import HungUp, Unreached
from thane.client.sockets import short_path
from thane.client.wire import LONGEST_LINE, Address

PART: Final = 1 << 16
START: Final = "Start it with `thane serve`, or correct the URL (THANE_URL)."


class Stream:
    """Bytes there and back, each step within a deadline."""

    def __init__(self, one: socket.socket) -> None:
        self._socket = one
        self._waiting = bytearray()

    @classmethod
    def connect(cls, address: Address, deadline: Deadline) -> Stream:
        """Unreached if nobody answers, TimedOut if nobody answers in time."""
        try:
            return cls(_connected(address, deadline))
        except TimeoutError as fault:
            raise deadline.over() from fault
        except OSError as fault:
            raise Unreached(f"nobody answers at {address.shown} ({fault})", START) from fault

    def write(self, data: bytes, deadline: Deadline) -> None:
        self._socket.settimeout(deadline.check())
        try:
            self._socket.sendall(data)
        except TimeoutError as fault:
            raise deadline.over() from fault
        except OSError as fault:
            raise HungUp(f"the server hung up ({fault})") from fault

    def line(self, deadline: Deadline) -> bytes:
        """Up to the next line's end, which is left out."""
        while (end := self._waiting.find(b"\r\n")) < 0:
            if len(self._waiting) > LONGEST_LINE:
                raise HungUp("the server sent a line without an end")
            self._more(deadline)
        found = bytes(self._waiting[:end])
        del self._waiting[: end + 2]
        return found

    def some(self, most: int, deadline: Deadline) -> bytes:
        """1 to `most` bytes, as soon as there are any; none at the stream's end."""
        if not self._waiting:
            with contextlib.suppress(HungUp):
                self._more(deadline)
        found = bytes(self._waiting[:most])
        del self._waiting[:most]
        return found

    def _more(self, deadline: Deadline) -> None:
        self._socket.settimeout(deadline.check())
        try:
            part = self._socket.recv(PART)
        except TimeoutError as fault:
            raise deadline.over() from fault
        except OSError as fault:
            raise HungUp(f"the connection broke ({fault})") from fault
        if not part:
            raise HungUp("the server hung up before it had answered")
        self._waiting += part

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be read, not even the end: fit for another request."""
        if self._waiting:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self._socket.close()


def _connected(address: Address, deadline: Deadline) -> socket.socket:
    if address.socket is not None:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            one.settimeout(deadline.check())
            with short_path(address.socket) as path:
                one.connect(path)
        except BaseException:
            one.close()
            raise
        return one
    one = socket.create_connection((address.host, address.port), timeout=deadline.check())
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.tls:
            # Here, because whoever speaks to a server on this machine does without it.
            import ssl

            return ssl.create_default_context().wrap_socket(one, server_hostname=address.host)
    except BaseException:
        one.close()
        raise
    return one


def wait(seconds: float) -> None:
    """Between two attempts."""
    time.sleep(seconds)
