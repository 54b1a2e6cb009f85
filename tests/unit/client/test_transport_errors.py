from __future__ import annotations

import http.client
import socket
import ssl

import pytest
import requests
import urllib3.exceptions as lower

from airflow_provider_capillary.client.transport_errors import classify
from airflow_provider_capillary.core.reply import Transmission
from airflow_provider_capillary.exceptions import Trouble

ERRORS = [
    requests.exceptions.ConnectionError(
        lower.ProtocolError("x", ConnectionResetError(104, "Connection reset by peer"))
    ),
    requests.exceptions.ReadTimeout("x"),
    requests.exceptions.SSLError(lower.SSLError(ssl.SSLError(1, "[SSL: DECRYPTION_FAILED] x"))),
    requests.exceptions.ChunkedEncodingError("x"),
    lower.ProtocolError("Connection broken", http.client.IncompleteRead(b"", 3)),
    socket.gaierror(-2, "Name or service not known"),
    TimeoutError("timed out"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_only_the_sent_body_decides(error: Exception) -> None:
    assert classify(error, body_has_left=True)[0] is Transmission.LOST
    assert classify(error, body_has_left=False)[0] is Transmission.NOT_WRITTEN


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ERRORS[0], "the server reset the connection (Connection reset by peer)"),
        (ERRORS[4], "the reply broke off"),
        (ERRORS[5], "the host name cannot be resolved (Name or service not known)"),
        (ERRORS[6], "timed out"),
        (http.client.RemoteDisconnected("x"), "the server closed the connection without a reply"),
        (
            OSError("Could not find a suitable TLS CA certificate bundle"),
            "network error (Could not find a suitable TLS CA certificate bundle)",
        ),
        (
            requests.exceptions.InvalidHeader("Invalid leading whitespace in Authorization: Basic abc"),
            "a header value is not valid",
        ),
    ],
)
def test_the_reason_repeats_no_request(error: Exception, reason: str) -> None:
    assert classify(error, body_has_left=True)[2] == reason


def test_an_error_that_wraps_itself_is_read_once() -> None:
    error = OSError("x")
    error.__cause__ = error
    assert classify(error, body_has_left=False) == (Transmission.NOT_WRITTEN, Trouble.NETWORK, "network error (x)")
