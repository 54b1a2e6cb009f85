"""Network trouble -> how far the request got, and what to tell people. Pure."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions as lower

from airflow_provider_capillary.client.redaction import redacted
from airflow_provider_capillary.core.reply import Delivery

#: The first line that fits any error of the chain tells the story; so the specific stand before the general.
_STORIES: tuple[tuple[type[BaseException], str], ...] = (
    (lower.NameResolutionError, "the host name cannot be resolved"),
    (socket.gaierror, "the host name cannot be resolved"),
    (lower.LocationParseError, "the host is not a valid name"),
    (requests.exceptions.InvalidURL, "the URL is not valid"),
    (requests.exceptions.InvalidHeader, "a header value is not valid"),
    (ssl.SSLCertVerificationError, "the server's TLS certificate is not trusted"),
    (ssl.SSLError, "TLS failed"),
    (lower.SSLError, "TLS failed"),
    (lower.ProxyError, "the proxy failed"),
    (ConnectionRefusedError, "the connection was refused"),
    (lower.NewConnectionError, "no connection could be made"),
    (lower.ConnectTimeoutError, "no connection within the connect timeout"),
    (lower.ReadTimeoutError, "no complete reply within the timeout"),
    (TimeoutError, "timed out"),
    (http.client.RemoteDisconnected, "the server closed the connection without a reply"),
    (ConnectionResetError, "the server reset the connection"),
    (http.client.IncompleteRead, "the reply broke off"),
    (http.client.HTTPException, "the reply is no valid HTTP"),
    (lower.ProtocolError, "the connection broke"),
    (OSError, "network error"),
)
_TELLING = (ssl.SSLError, socket.gaierror, OSError)


def classify(error: BaseException, *, body_has_left: bool) -> tuple[Delivery, str]:
    """Say whether the server can have seen the request, and why there is no reply.

    ``NOT_WRITTEN`` only where the body was never asked for; everything after that is ``LOST``, whatever
    the exception is called. A request without a body counts as written.
    """
    chain = list(_chain(error))
    story = next((text for kind, text in _STORIES for each in chain if isinstance(each, kind)), "network error")
    detail = next((_detail(each) for each in chain if isinstance(each, _TELLING) and _detail(each)), "")
    problem = redacted(f"{story} ({detail})" if detail else story)
    return (Delivery.LOST if body_has_left else Delivery.NOT_WRITTEN), problem


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Go through everything that an error wraps: ``args``, ``reason``, causes."""
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
    """Give the operating system's own words; ``requests``' repeat the URL, with its query."""
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "verify_message", None) or getattr(error, "reason", None) or "")
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        return error.strerror
    if type(error) is OSError and error.args and isinstance(error.args[0], str):
        return error.args[0]  # such as: could not find a suitable TLS CA certificate bundle
    return ""
