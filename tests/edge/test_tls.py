"""TLS by setting, with real clients: what is spoken, what is refused, and how a certificate is changed."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Pair, make
from tests.support.program import PATIENCE, Served, eventually, thane
from thane.interfaces.http import tls as tls_module
from thane.interfaces.http.tls import Tls, TlsListener
from thane.kernel.errors import SettingsError


def settings(pair: Pair) -> dict[str, str]:
    return {"THANE_HTTP_TLS_CERT": str(pair.certificate), "THANE_HTTP_TLS_KEY": str(pair.key)}


def trusting(pair: Pair) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pair.certificate))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("tls") / "data", **settings(pair))
    yield made
    assert made.stop() == 0, made.log.read_text()


def certificate_of(server: Served) -> bytes:
    """What the server shows now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection((server.host, server.port), PATIENCE)) as spoken:
        found = spoken.getpeercert(binary_form=True)
    assert found is not None
    return found


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())


def test_a_client_that_trusts_the_certificate_is_served(server: Served, pair: Pair) -> None:
    assert b"https://127.0.0.1" in server.log.read_bytes()
    connection = http.client.HTTPSConnection(
        server.host, server.port, context=trusting(pair), timeout=PATIENCE
    )
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    for _ in range(2):  # on one connection
        connection.request("POST", "/api/v1/sandboxes", json.dumps({"name": "sealed"}), headers)
        answer = connection.getresponse()
        assert answer.status == 201
        assert json.loads(answer.read())["name"] == "sealed"
    connection.close()


def test_a_watch_is_told_over_tls(server: Served, pair: Pair) -> None:
    with trusting(pair).wrap_socket(
        socket.create_connection((server.host, server.port), PATIENCE), server_hostname="127.0.0.1"
    ) as one:
        one.sendall(
            f"GET /api/v1/watch?entity=sandboxes HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {server.key}\r\n\r\n".encode()
        )
        text = b""
        while b"event: ready" not in text:
            more = one.recv(65_536)
            assert more, f"the stream ended: {text!r}"
            text += more
        test_a_client_that_trusts_the_certificate_is_served(server, pair)
        while text.count(b"event: create") < 2:
            more = one.recv(65_536)
            assert more, f"the stream ended: {text!r}"
            text += more


def test_who_does_not_trust_it_and_who_speaks_too_old_are_not_served(server: Served, pair: Pair) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection(server.host, server.port, timeout=PATIENCE).request("GET", "/health")
    old = trusting(pair)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        http.client.HTTPSConnection(server.host, server.port, context=old, timeout=PATIENCE).request(
            "GET", "/health"
        )


def test_who_speaks_plain_http_is_told_to_ask_with_https(server: Served) -> None:
    answer = server.raw("GET", "/health")
    assert answer.status == 400
    assert b"https://" in answer.body


def test_the_folders_socket_needs_no_tls(server: Served) -> None:
    assert thane("runs", "list", data=server.data).code in (0, 2)
    done = thane("run", "-c", "print('beside')", data=server.data)
    assert (done.code, done.text) == (0, "beside\n")


def test_sighup_has_the_certificate_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    first = make(folder)
    server = Served(tmp_path / "data", **settings(first))
    try:
        before = der(first)
        assert certificate_of(server) == before
        second = make(folder)  # into the same files
        os.kill(server.process.pid, signal.SIGHUP)
        eventually(lambda: certificate_of(server) == der(second), "the new certificate")
        after = der(second)
        assert after != before
        second.key.write_text("no key")
        os.kill(server.process.pid, signal.SIGHUP)
        eventually(lambda: b"stays as it was" in server.log.read_bytes(), "the refusal")
        assert certificate_of(server) == after
    finally:
        assert server.stop() == 0


class TestFiles:
    def refused(self, certificate: Path, key: Path) -> SettingsError:
        with pytest.raises(SettingsError) as refused:
            Tls(certificate, key)
        assert refused.value.hint
        return refused.value

    def test_one_that_is_not_there(self, pair: Pair, tmp_path: Path) -> None:
        fault = self.refused(tmp_path / "none.crt", pair.key)
        assert (
            fault.message == f"http.tls_cert: {tmp_path}/none.crt cannot be read: No such file or directory"
        )
        fault = self.refused(pair.certificate, tmp_path / "none.key")
        assert fault.message.startswith("http.tls_key: ")

    def test_one_that_cannot_be_read(self, pair: Pair, tmp_path: Path) -> None:
        assert "cannot be read" in self.refused(pair.certificate, tmp_path).message
        if os.geteuid():
            locked = tmp_path / "locked.key"
            locked.write_bytes(pair.key.read_bytes())
            locked.chmod(0)
            assert "Permission denied" in self.refused(pair.certificate, locked).message

    def test_one_that_is_no_pem(self, pair: Pair, tmp_path: Path) -> None:
        text = tmp_path / "text"
        text.write_text("not a certificate")
        assert "PEM" in self.refused(text, pair.key).message
        assert "PEM" in self.refused(pair.certificate, text).message

    def test_the_key_of_another_certificate(self, pair: Pair, tmp_path: Path) -> None:
        other = make(tmp_path, "other")
        assert "is not the key of" in self.refused(pair.certificate, other.key).message

    def test_a_key_with_a_password(self, tmp_path: Path) -> None:
        sealed = make(tmp_path, "sealed", b"secret")
        fault = self.refused(*sealed)
        assert "is encrypted" in fault.message
        assert "openssl pkey" in fault.hint

    def test_the_program_says_it_and_ends(self, pair: Pair, tmp_path: Path) -> None:
        env = settings(Pair(pair.certificate, tmp_path / "none.key"))
        done = thane("serve", "--port", "0", data=tmp_path / "data", env=env)
        assert done.code == 2
        assert "http.tls_key" in done.notes
        assert not (tmp_path / "data" / "store.db").exists()

    def test_one_without_the_other_is_half_a_setting(self, pair: Pair) -> None:
        done = thane("config", "check", env={"THANE_HTTP_TLS_CERT": str(pair.certificate)})
        assert done.code == 2
        assert "http.tls_key is not" in done.notes


async def test_who_connects_and_says_nothing_is_cut_off(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls_module, "HANDSHAKE_SECONDS", 0.2)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    accepting = TlsListener(listener, Tls(*pair), asyncio.Protocol)
    port = listener.getsockname()[1]
    for said in (b"", b"\x16", b"GET "):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(PATIENCE):
            heard = await reader.read()
        assert (heard == b"") is (said != b"GET ")
        writer.close()
    accepting.close()
    await accepting.wait_closed()
    listener.close()
