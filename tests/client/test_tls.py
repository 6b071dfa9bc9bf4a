"""An https address: the certificate is checked, and what it protects is the same."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.certificates import make
from thane.client import AsyncThane, Thane, Unreached

PROBLEM = b'{"code": "gone", "detail": "by tls", "hint": "", "retryable": false}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(410)
        self.send_header("content-length", str(len(PROBLEM)))
        self.end_headers()
        self.wfile.write(PROBLEM)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a test's output is the test's."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    pair = make(folder)
    path = folder / "both.pem"
    path.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    return path


@pytest.fixture(scope="module")
def url(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(60)


async def answer(url: str) -> tuple[str, str]:
    """What both twins make of it."""
    from thane.client import errors

    with Thane(url, "k", retries=0) as thane, pytest.raises((errors.Gone, Unreached)) as plain:
        thane.users.current()
    async with AsyncThane(url, "k", retries=0) as other:
        with pytest.raises((errors.Gone, Unreached)) as awaited:
            await other.users.current()
    return plain.value.message, awaited.value.message


async def test_a_certificate_that_is_trusted_is_spoken_to(
    url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert await answer(url) == ("by tls", "by tls")


async def test_a_certificate_that_nobody_vouches_for_is_refused(url: str) -> None:
    assert all("CERTIFICATE_VERIFY_FAILED" in message for message in await answer(url))
