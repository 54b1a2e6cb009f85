"""Classifies network errors: how far the request got, and why there is no reply, as text for people. Pure."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions as lower

from airflow_provider_capillary.client.redaction import redacted
from airflow_provider_capillary.core.reply import Transmission
from airflow_provider_capillary.exceptions import Trouble

#: The first line that fits any error of the chain decides, so specific classes come before general ones.
_TROUBLES: tuple[tuple[type[BaseException], Trouble], ...] = (
    (lower.NameResolutionError, Trouble.NAME),
    (socket.gaierror, Trouble.NAME),
    (lower.LocationParseError, Trouble.INVALID_HOST),
    (requests.exceptions.InvalidURL, Trouble.INVALID_URL),
    (requests.exceptions.InvalidHeader, Trouble.INVALID_HEADER),
    (ssl.SSLCertVerificationError, Trouble.CERTIFICATE),
    (ssl.SSLError, Trouble.TLS),
    (lower.SSLError, Trouble.TLS),
    (lower.ProxyError, Trouble.PROXY),
    (ConnectionRefusedError, Trouble.REFUSED),
    (lower.NewConnectionError, Trouble.NOT_CONNECTED),
    (lower.ConnectTimeoutError, Trouble.CONNECT_TIMEOUT),
    (lower.ReadTimeoutError, Trouble.READ_TIMEOUT),
    (TimeoutError, Trouble.TIMEOUT),
    (http.client.RemoteDisconnected, Trouble.CLOSED),
    (ConnectionResetError, Trouble.RESET),
    (http.client.IncompleteRead, Trouble.CUT_SHORT),
    (http.client.HTTPException, Trouble.NO_HTTP),
    (lower.ProtocolError, Trouble.BROKEN),
    (OSError, Trouble.NETWORK),
)
_DETAILED = (ssl.SSLError, socket.gaierror, OSError)  # errors whose own text adds something


def classify(error: BaseException, *, body_has_left: bool) -> tuple[Transmission, Trouble, str]:
    """Give whether the server can have seen the request, why there is no reply, and a text for people.

    It is ``NOT_WRITTEN`` only if the body was never asked for. Any error after that is ``LOST``, whatever its class. A
    request without a body counts as written.
    """
    chain = list(_chain(error))
    trouble = next((found for kind, found in _TROUBLES for each in chain if isinstance(each, kind)), Trouble.NETWORK)
    detail = next((_detail(each) for each in chain if isinstance(each, _DETAILED) and _detail(each)), "")
    problem = redacted(f"{trouble.value} ({detail})" if detail else trouble.value)
    return (Transmission.LOST if body_has_left else Transmission.NOT_WRITTEN), trouble, problem


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all errors that it wraps: in ``args``, ``reason``, causes."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        wrapped = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        waiting.extend(inner for inner in wrapped if isinstance(inner, BaseException))


def _detail(error: BaseException) -> str:
    """Give the operating system's text. Those of ``requests`` are not used: they repeat the URL and its query."""
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "verify_message", None) or getattr(error, "reason", None) or "")
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        return error.strerror
    if type(error) is OSError and error.args and isinstance(error.args[0], str):
        return error.args[0]  # such as: could not find a suitable TLS CA certificate bundle
    return ""
