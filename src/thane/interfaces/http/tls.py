"""TLS by setting: the certificate and its key from files, read again when told, and a listener for it.

Who speaks plain HTTP to a port of TLS is told so in plain HTTP. Nothing here makes keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from thane.kernel.errors import SettingsError

log = logging.getLogger(__name__)

# A client that connects and says nothing, or does not end its handshake.
HANDSHAKE_SECONDS: Final = 10.0
# So many may be at it at one time; the others wait in the kernel's queue.
HANDSHAKES: Final = 512
# How a TLS connection begins: a record of the type "handshake".
_HANDSHAKE: Final = 0x16
_TEXT: Final = b"This port speaks TLS: ask with https:// instead of http://.\n"
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_TEXT), _TEXT)
)


class Tls:
    """A certificate (with its chain) and its private key. SettingsError says which file is wrong, and how."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self.context = self._read()

    def reload(self) -> None:
        """Take what the files hold now, for new connections. SettingsError leaves it as it was."""
        self._read()
        self.context.load_cert_chain(*self._files)

    def _read(self) -> ssl.SSLContext:
        certificate, key = self._files
        for setting, path in (("http.tls_cert", certificate), ("http.tls_key", key)):
            _readable(setting, path)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(["http/1.1"])
        try:
            made.load_cert_chain(certificate, key, password=_no_password)
        except _Encrypted:
            raise SettingsError(
                f"http.tls_key: {key} is encrypted, and nobody is there to type its password",
                hint=f"Write it without: openssl pkey -in {key} -out plain.key",
            ) from None
        except ssl.SSLError as fault:
            if fault.reason == "KEY_VALUES_MISMATCH":
                raise SettingsError(
                    f"http.tls_key: {key} is not the key of the certificate in {certificate}",
                    hint="Name the two files that were made together.",
                ) from fault
            raise SettingsError(
                f"http.tls_cert, http.tls_key: {certificate} and {key} do not hold a certificate and a key"
                f" in PEM ({fault.reason or 'no PEM in it'})",
                hint="Both are PEM: -----BEGIN CERTIFICATE----- and -----BEGIN PRIVATE KEY-----.",
            ) from fault
        return made


class _Encrypted(Exception):
    """OpenSSL asked for a password."""


def _no_password() -> str:
    raise _Encrypted


def _readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as fault:
        raise SettingsError(
            f"{setting}: {path} cannot be read: {fault.strerror}",
            hint="Name a PEM file that the server's user may read.",
        ) from fault


class TlsListener:
    """Accepts connections, looks at the first byte, and lets those in that begin a handshake.

    To uvicorn it is a server of asyncio: it closes it, and waits for it.
    """

    def __init__(self, listener: socket.socket, tls: Tls, connection: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._tls = tls
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._at_it: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Accept no more."""
        self._accepting.cancel()
        for task in self._at_it:
            task.cancel()

    async def wait_closed(self) -> None:
        """Until nobody is at a handshake any more."""
        await asyncio.gather(self._accepting, *self._at_it, return_exceptions=True)

    async def _accept(self) -> None:
        room = asyncio.Semaphore(HANDSHAKES)
        while True:
            await room.acquire()
            try:
                accepted, _ = await self._loop.sock_accept(self._listener)
            except OSError as fault:  # no descriptor left, or the client has gone
                room.release()
                log.warning("a connection could not be accepted", extra={"cause": str(fault)})
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._greet(accepted))
            self._at_it.add(task)
            task.add_done_callback(self._at_it.discard)
            task.add_done_callback(lambda _: room.release())

    async def _greet(self, accepted: socket.socket) -> None:
        handed_on = False
        try:
            accepted.setblocking(False)
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                first = await self._first_byte(accepted)
            if first == _HANDSHAKE:
                handed_on = True  # from here on the loop closes it
                await self._loop.connect_accepted_socket(
                    self._connection, accepted, ssl=self._tls.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
                )
            elif first is not None:
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    await self._loop.sock_sendall(accepted, _PLAIN)
                    await self._away(accepted)
        except (OSError, TimeoutError) as fault:  # ssl.SSLError is an OSError
            log.info("a TLS connection was not made", extra={"cause": str(fault) or "too slow"})
        finally:
            if not handed_on:
                accepted.close()

    async def _first_byte(self, accepted: socket.socket) -> int | None:
        """Without taking it: the handshake needs it. None if the client has gone."""
        readable = asyncio.Event()
        self._loop.add_reader(accepted, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(accepted)
        found = accepted.recv(1, socket.MSG_PEEK)
        return found[0] if found else None

    async def _away(self, accepted: socket.socket) -> None:
        """Read what the client still sends, or the reset of an early close would overtake the answer."""
        with contextlib.suppress(OSError):
            accepted.shutdown(socket.SHUT_WR)
        for _ in range(64):
            if not await self._loop.sock_recv(accepted, 65_536):
                return
