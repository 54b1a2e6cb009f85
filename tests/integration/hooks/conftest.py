"""Something that answers on loopback where a connection leads to: the API's simulator, or bytes over a raw socket."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook

Answer = Callable[[bytes], bytes | None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., CapillaryBadgeHook]:
    """``connect(host=..., extra={...})``: the hook of a connection with these fields."""

    def made(**fields: Any) -> CapillaryBadgeHook:
        given = {"conn_type": "capillary", "login": "till.1", "password": "open-sesame", **fields}
        monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", json.dumps(given))
        return CapillaryBadgeHook()

    return made


@pytest.fixture
def answering() -> Iterator[Callable[..., int]]:
    """``answering(answer, context=None)``: the port of a server; an answer of ``None`` is never given."""
    with contextlib.ExitStack() as stack:
        yield lambda answer, context=None: stack.enter_context(_server(answer, context))


@contextlib.contextmanager
def _server(answer: Answer, context: ssl.SSLContext | None) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve_one(plain: socket.socket) -> None:
        plain.settimeout(5)
        with contextlib.suppress(OSError), plain, secured(plain) as connection:
            request = connection.recv(65536)
            if (reply := answer(request)) is not None:
                connection.sendall(reply)
            else:
                over.wait(20)

    def secured(plain: socket.socket) -> socket.socket:
        return context.wrap_socket(plain, server_side=True) if context else plain

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve_one, args=(connection,), daemon=True))
                threads[-1].start()

    threads = [threading.Thread(target=serve, daemon=True)]
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(timeout=10)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "loopback.pem"
    path.write_bytes(built.public_bytes(pem) + secret)
    return path


@pytest.fixture(scope="session")
def tls(certificate: Path) -> ssl.SSLContext:
    """A server's side of TLS, with the self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
