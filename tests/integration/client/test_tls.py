"""TLS fails before the request is written or after it, under one and the same name of exception."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_capillary.core import send_limits
from airflow_provider_capillary.core.reply import Transmission

from .sending import BODY, basic, sent

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for loopback and its key, in one file that serves as CA bundle too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "loopback.pem"
    path.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@contextmanager
def tls_server(certificate: Path, *, garbled: bool) -> Iterator[tuple[str, list[bytes]]]:
    """Answers one request; ``garbled``: with bytes that are no TLS, after it has read the whole request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            plain, _ = listener.accept()
            plain.settimeout(5)
            raw = socket.socket(fileno=socket.dup(plain.fileno()))
            with raw, context.wrap_socket(plain, server_side=True) as secured:
                request = b""
                while not request.endswith(BODY):
                    part = secured.recv(65536)
                    if not part:
                        return
                    request += part
                received.append(request)
                raw.sendall(b"this is no TLS at all") if garbled else secured.sendall(REPLY)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", received
    finally:
        thread.join(timeout=10)
        listener.close()


def test_a_ca_bundle_makes_its_servers_trusted(certificate: Path) -> None:
    with tls_server(certificate, garbled=False) as (url, _):
        assert sent(url, verify_ssl=str(certificate)).entries == []


def test_an_untrusted_certificate_means_not_written(certificate: Path) -> None:
    with tls_server(certificate, garbled=False) as (url, received):
        found = sent(url)
    assert found.transmission is Transmission.NOT_WRITTEN
    assert "not trusted" in found.problem
    assert received == []


def test_tls_failing_after_the_write_is_lost(certificate: Path) -> None:
    with tls_server(certificate, garbled=True) as (url, received):
        found = sent(url, verify_ssl=str(certificate))
    assert len(received) == 1
    assert found.transmission is Transmission.LOST
    assert "TLS failed" in found.problem


def test_a_slow_handshake_keeps_the_body_back(certificate: Path) -> None:
    """The handshake is over when the body is asked for, so what it took counts."""
    with (
        tls_server(certificate, garbled=False) as (url, received),
        basic(url, verify_ssl=str(certificate)) as client,
    ):
        found = client.import_badges(BODY, "r1", lambda: "not sent: the connection took 9.0 s")
    assert (found.transmission, found.problem) == (Transmission.NOT_WRITTEN, "not sent: the connection took 9.0 s")
    assert received == []


def test_the_write_timeout_covers_the_whole_body(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes a little now and then keeps each write of TLS within its own timeout."""
    monkeypatch.setattr(send_limits, "WRITE_SECONDS", 0.3)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    done = threading.Event()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def take_little_by_little() -> None:
        with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as secured:
            while not done.wait(0.02):
                secured.recv(16_384)

    thread = threading.Thread(target=take_little_by_little, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    with basic(url, verify_ssl=str(certificate)) as client:
        begun = time.monotonic()
        found = client.import_badges(bytes(20_000_000), "r1")
        took = time.monotonic() - begun
        done.set()
    thread.join(timeout=10)
    listener.close()
    assert found.transmission is Transmission.LOST
    assert took < 10  # all of it at that pace would take more than twenty seconds
