"""Listening and connecting: TCP and the data folder's unix socket.

A unix socket's path may have 107 bytes; a longer one is opened through its directory's
descriptor (`/proc/self/fd/N/name`), which is short whatever lies behind it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from thane.kernel.errors import PortInUse, SettingsError

MAX_PATH_BYTES: Final = 107
BACKLOG: Final = 2048
_CREDENTIALS: Final = struct.Struct("3i")


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name of `path` that fits into a socket's address, valid inside the block."""
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening socket. PortInUse if another program has the port, SettingsError for a wrong host."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as fault:
        raise SettingsError(
            f"there is no address {host!r} to listen on", hint="Set `http.host`, or use --host."
        ) from fault
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as fault:
        made.close()
        if fault.errno == errno.EADDRINUSE:
            raise PortInUse(f"port {port} on {host} belongs to another program") from fault
        if fault.errno in (errno.EACCES, errno.EADDRNOTAVAIL):
            raise SettingsError(
                f"{host}:{port} cannot be listened on: {fault.strerror}",
                hint="Choose another address with --host and --port.",
            ) from fault
        raise
    return made


def listen_unix(path: Path) -> socket.socket:
    """A listening unix socket that only its owner may open.

    A file that lies there is a dead owner's: call this only with the data folder's lock.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        with short_path(path) as name:
            made.bind(name)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


def peer_uid(descriptor: int) -> int:
    """The user at the other end of a unix socket, as the kernel knows it (SO_PEERCRED).

    By descriptor, because what a transport gives out as its socket need not be one.
    """
    with socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


def is_listening(path: Path) -> bool:
    """Whether somebody answers on a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            with short_path(path) as name:
                probe.connect(name)
        except OSError:
            return False
        return True
