"""Sends one HTTP request at most once, and reads its reply within a deadline. Network trouble raises nothing.

A ``requests.Session`` is not used: it would add redirects, cookies and ``~/.netrc``, and an import must go to the
address given, once, with the credentials given. Only the adapter of ``requests`` is used, which is thread-safe.
Proxies (``HTTPS_PROXY``, ``NO_PROXY``) and the CA bundle (``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``) are read from
the environment, once, when the client is made. Requests to loopback addresses never go through a proxy.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import check_header_validity, get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.client.transport_errors import classify
from airflow_provider_capillary.clocks import steady
from airflow_provider_capillary.core import send_limits
from airflow_provider_capillary.core.reply import Transmission
from airflow_provider_capillary.exceptions import ConfigurationError, Trouble

LARGEST_REPLY = 4 * 2**20  #: bytes, decompressed, of a reply to a read: a page of badges is a tenth of it
_TLS_RECORD = 16 * 2**10  #: bytes of one TLS record at most
POOL_SIZE = 16  #: connections kept open; with more threads than that, some connect anew
MOST_ROUTES = 16  #: URLs whose connection pool is remembered
NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


class Exchange(msgspec.Struct, frozen=True):
    """The result of one request. If the body broke off, ``status`` is known and ``body`` is empty."""

    transmission: Transmission
    status: int | None = None
    headers: Mapping[str, str] = {}
    body: bytes = b""
    problem: str = ""
    trouble: Trouble | None = None  #: why there is no complete reply


#: Called when a body is about to leave; gives the reason why it must not, or ``None``.
KeepBack = Callable[[], str | None]


class _SentTwiceError(RuntimeError):
    pass


class _KeptBackError(Exception):
    pass


class _SingleUseBody:
    """The bytes of one request. It records whether they may have begun to leave, and refuses to be sent twice.

    No exception says for certain whether a request was written, because a TLS error may come from the handshake or
    from the reply. But the body is read only after the name is resolved and TCP and TLS are connected. So until then
    nothing was sent, and ``keep_back`` is called at this moment.
    """

    def __init__(self, data: bytes, keep_back: KeepBack | None) -> None:
        self._data = data
        self._keep_back = keep_back
        self.has_left = False

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        if self.has_left:
            raise _SentTwiceError("a request body was about to be sent a second time")
        if self._keep_back is not None and (reason := self._keep_back()) is not None:
            raise _KeptBackError(reason)
        self.has_left = True
        yield self._data


class _DeadlineReader(io.RawIOBase):
    """Reads a socket with one deadline for the whole reply. Otherwise single slow bytes could keep it open for ever."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._socket = sock
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + seconds
        self.at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        received: int | None = self._raw.readinto(buffer)
        self.at_end = received == 0
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineSocket:
    """What ``http.client`` is given as the socket, from which it makes the file of the reply."""

    def __init__(self, reader: _DeadlineReader) -> None:
        self._reader = reader

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        # At this moment the socket's timeout is the read timeout, set for the reply that is about to be read.
        self._reader = _DeadlineReader(sock, sock.gettimeout())
        super().__init__(_DeadlineSocket(self._reader), *args, **kwargs)  # type: ignore[arg-type]  # calls makefile only
        self._was_interim = False

    def begin(self) -> None:
        super().begin()
        if self._was_interim:
            # If replies and requests were out of step, the next request would get this reply: close the connection.
            self.will_close = True
        # http.client takes the end of the stream for the end of the headers, and half a reply for a whole one.
        if self._reader.at_end:
            raise http.client.IncompleteRead(b"")

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the final reply. ``http.client`` skips 100 only, and takes 102 or 103 for final."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # typeshed leaves it out
            if status >= http.HTTPStatus.OK:
                return version, status, reason
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.UnknownProtocol("101 Switching Protocols")  # what follows is no HTTP, and no reply
            self._was_interim = True
            http.client.parse_headers(self.fp)


class _Connection(HTTPConnection):
    response_class = _DeadlineResponse

    def send(self, data: Any) -> None:
        self._send_within(send_limits.WRITE_SECONDS, data)

    def _send_within(self, seconds: float, data: Any) -> None:
        # Without this the connect timeout would also limit the sending of the body.
        if self.sock is not None:
            self.sock.settimeout(seconds)
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    def send(self, data: Any) -> None:
        # A TLS socket starts its timeout anew with each record that it writes. This deadline is for all records.
        deadline = steady() + send_limits.WRITE_SECONDS
        for start in range(0, len(data), _TLS_RECORD):
            left = deadline - steady()
            if left <= 0:
                raise TimeoutError("timed out")
            self._send_within(left, data[start : start + _TLS_RECORD])


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """``requests``' adapter with our connections, and without any resend."""

    def __init__(self) -> None:
        super().__init__(pool_maxsize=POOL_SIZE, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager

    def close(self) -> None:
        # requests only drops its pools, and the garbage collector closes the sockets some time later.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - no mapping: it cannot be iterated over
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
        super().close()


def most_reply_bytes(sent: int) -> int:
    """Give the most bytes that a reply to a body of ``sent`` bytes may have. An entry is three times its row."""
    return 8 * sent + 2**20


class _Route(NamedTuple):
    """The pool and the target of one URL. The adapter of ``requests`` would find them anew for each request."""

    pool: HTTPConnectionPool
    target: str  #: of the request line


class Transport:
    """Sends requests to one host. It is thread-safe: threads share the pool of connections, and nothing else."""

    def __init__(self, settings: ClientSettings) -> None:
        self._adapter = _Adapter()
        self._timeout = urllib3.Timeout(connect=settings.connect_timeout, read=settings.timeout)
        self._verify = _verification(settings.verify_ssl)
        self._proxies = _proxies(settings.base_url)
        self._routes: dict[str, _Route] = {}

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        keep_back: KeepBack | None = None,
    ) -> Exchange:
        """Send one request, once, and read its reply. Network trouble is in what is returned, and never raised."""
        single = _SingleUseBody(body, keep_back) if body is not None else None
        status: int | None = None
        try:
            route = self._routes.get(url) or self._routed(url)
            response = route.pool.urlopen(
                method,
                route.target,
                body=single,
                headers=_checked(headers, single),
                retries=self._adapter.max_retries,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
            status = response.status
            return _read(response, LARGEST_REPLY if body is None else most_reply_bytes(len(body)))
        except _KeptBackError as error:
            return Exchange(Transmission.NOT_WRITTEN, problem=str(error))
        except NETWORK_ERRORS as error:
            transmission, trouble, problem = classify(error, body_has_left=single is None or single.has_left)
            return Exchange(transmission, status, problem=problem, trouble=trouble)

    def close(self) -> None:
        """Close the pooled connections."""
        self._routes.clear()
        self._adapter.close()

    def _routed(self, url: str) -> _Route:
        """Find proxy, TLS settings and quoting of a URL, and remember them: all batches of an import go to one URL."""
        request = requests.Request("GET", url).prepare()
        pool = self._adapter.get_connection_with_tls_context(request, self._verify, proxies=self._proxies)
        self._adapter.cert_verify(pool, request.url, self._verify, None)  # type: ignore[no-untyped-call]  # of requests
        route = _Route(cast(HTTPConnectionPool, pool), self._adapter.request_url(request, self._proxies))
        if len(self._routes) < MOST_ROUTES:  # each customer that is read has a URL of its own
            self._routes[url] = route
        return route


def _checked(headers: Mapping[str, str], body: _SingleUseBody | None) -> dict[str, str]:
    for header in headers.items():
        check_header_validity(header)
    # Without a length the body would be sent in chunks.
    return dict(headers) if body is None else {**headers, "Content-Length": str(len(body))}


def _read(response: BaseHTTPResponse, largest: int) -> Exchange:
    status, headers = response.status, response.headers
    try:
        body = _body(response, largest + 1)
    except urllib3.exceptions.DecodeError:
        response.close()
        # All bytes are there, but they are not what Content-Encoding says.
        return Exchange(Transmission.REPLIED, status, headers, problem="the body cannot be decompressed")
    except BaseException:
        response.close()
        raise
    if len(body) > largest:
        response.close()
        problem = f"the reply is larger than {largest:,} bytes, which no answer to this request is"
        return Exchange(Transmission.LOST, status, headers, problem=problem)
    response.release_conn()
    return Exchange(Transmission.REPLIED, status, headers, body)


def _body(response: BaseHTTPResponse, most: int) -> bytes:
    if "Content-Encoding" in response.headers:
        return response.read(most, decode_content=True)
    # Without decoding nothing is copied. If the reply breaks off, the read after its last byte raises.
    parts: list[bytes] = []
    while most and (part := response.read(most, decode_content=False)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _verification(verify_ssl: bool | str) -> bool | str:
    if verify_ssl is not True:
        return verify_ssl
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def _proxies(base_url: str) -> dict[str, str]:
    proxies = {} if is_loopback(urlsplit(base_url).hostname or "") else dict(get_environ_proxies(base_url))
    scheme, mark, address = (select_proxy(base_url, proxies) or "").partition("://")
    if mark and scheme.lower().startswith("socks"):
        # requests would take our connections for the proxy's own, and go past it.
        raise ConfigurationError(
            f"the environment (ALL_PROXY or HTTPS_PROXY) asks for the proxy {scheme}://{address.rpartition('@')[2]}. "
            "Support for SOCKS (PySocks) is missing in this client. Give an HTTP proxy, as in "
            "HTTPS_PROXY=http://proxy:3128, or name the host in NO_PROXY"
        )
    return proxies
