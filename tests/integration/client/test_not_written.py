"""Requests of which not a byte was written, and the ways to the network that are not taken."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.core.reply import Transmission
from airflow_provider_capillary.exceptions import ConfigurationError

from .sending import ARRAY, BODY, Serve, closed_port, reply, sent, written


def test_a_refused_port_means_not_written() -> None:
    found = sent(f"http://127.0.0.1:{closed_port()}")
    assert (found.transmission, found.problem) == (
        Transmission.NOT_WRITTEN,
        "the connection was refused (Connection refused)",
    )


def test_an_unresolved_name_means_not_written() -> None:
    found = sent("https://no-such-cluster.invalid")
    assert found.transmission is Transmission.NOT_WRITTEN
    assert "cannot be resolved" in found.problem


def test_tls_to_a_plain_port_means_not_written(serve: Serve) -> None:
    server = serve(written(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    found = sent(f"https://127.0.0.1:{server.port}", timeout=0.3, connect_timeout=0.3)
    assert found.transmission is Transmission.NOT_WRITTEN
    assert not any(BODY in request for request in server.requests)


def test_an_unaccepted_connection_means_not_written() -> None:
    # Linux completes handshakes up to the backlog; with that full, further connects hang as in a dropped network.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            found = sent(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.2)
        finally:
            for filler in fillers:
                filler.close()
    assert (found.transmission, found.problem) == (Transmission.NOT_WRITTEN, "no connection within the connect timeout")


def test_a_missing_ca_bundle_means_not_written() -> None:
    found = sent("https://127.0.0.1:1", verify_ssl="/no/such/bundle.pem")
    assert found.transmission is Transmission.NOT_WRITTEN
    assert "CA certificate bundle" in found.problem


def test_netrc_and_proxies_never_touch_loopback(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    server = serve(written(reply(ARRAY)))
    assert sent(server.url).transmission is Transmission.REPLIED
    assert b"Authorization: Basic dGlsbC4xO" in server.requests[0]


def test_a_dead_proxy_means_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://user:hidden@127.0.0.1:{closed_port()}")
    found = sent("https://cluster.invalid")
    assert found.transmission is Transmission.NOT_WRITTEN
    assert "proxy" in found.problem
    assert "hidden" not in found.problem


@pytest.mark.parametrize("variable", ["ALL_PROXY", "HTTPS_PROXY"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS4"])
def test_a_socks_proxy_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, f"{scheme}://user:sesame@127.0.0.1:1080")
    settings = ClientSettings(base_url="https://eu.api.example.com", login="till", password="pw")
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:1080.*PySocks.*HTTPS_PROXY=http.*NO_PROXY") as refused:
        BadgeClient(settings)
    assert "sesame" not in str(refused.value)
    monkeypatch.setenv("NO_PROXY", "eu.api.example.com")
    BadgeClient(settings).close()
