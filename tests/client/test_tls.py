"""An https address: the certificate is checked, and what it protects is the same."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

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
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "thane test")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
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
