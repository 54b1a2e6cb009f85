"""Tests a connection for Airflow's *Test* button: one read within ten seconds, and what to fix if it fails."""

from __future__ import annotations

import re
import threading
from concurrent.futures import Future
from urllib.parse import urlsplit

from airflow_provider_capillary.client.badge_client import BADGES_PATH, TOKEN_PATH, BadgeClient
from airflow_provider_capillary.client.client_settings import AuthType, ClientSettings
from airflow_provider_capillary.exceptions import (
    ApiError,
    ApiUnavailableError,
    AuthenticationError,
    CapillaryError,
    Trouble,
)

TEST_SECONDS = 10.0  #: for all of it: name resolution, token, reply

_LOOKS_HASHED = re.compile(r"[0-9a-fA-F]{32}")
_BADGES = "that Capillary enabled badges for the organisation (its support does)"

_NO_REPLY = {
    Trouble.NAME: "Check the name in host, and that this machine can resolve it.",
    Trouble.PROXY: "Check HTTPS_PROXY and NO_PROXY in the environment of this Airflow process.",
    Trouble.REFUSED: "Nothing listens there: check host and port.",
    Trouble.CERTIFICATE: (
        "Set extra verify_ssl to the path of the CA bundle that signed it. If it is expired or made for another name, "
        "correct host or have the server's certificate renewed."
    ),
    Trouble.TLS: "Check that the port speaks TLS, not plain http, and that a CA bundle in verify_ssl can be read.",
    Trouble.CONNECT_TIMEOUT: "Check host and port, and whether a firewall stands between.",
    Trouble.READ_TIMEOUT: (
        "The connection was made, but nothing complete came back: check host and port, or try later."
    ),
}
#: How a server that expects TLS may answer a request in plain http.
_LIKE_TLS = frozenset({Trouble.CLOSED, Trouble.RESET, Trouble.NO_HTTP, Trouble.CUT_SHORT, Trouble.BROKEN})
_MAYBE_TLS = "Check that the port speaks plain http. If it speaks TLS, host must begin with https://."
_NOT_REACHED = "Check host and port, and whether a firewall or proxy stands between."


def checked(client: BadgeClient, *, seconds: float = TEST_SECONDS) -> tuple[bool, str]:
    """Read one badge of the list, and say whether that works or what to fix.

    It changes nothing and shows no secret. The read has a thread of its own, because nothing bounds the time to resolve
    a name. If it takes longer than ``seconds``, it goes on in the background.

    :return: whether it works, and a text for people.
    """
    settings = client.settings
    ended: Future[None] = Future()
    threading.Thread(target=_read, args=(client, ended), name="capillary-connection-test", daemon=True).start()
    try:
        ended.result(timeout=seconds)
    except TimeoutError:
        return False, sentence(f"no answer within {seconds:g} seconds. {_NOT_REACHED} {_asked(settings)}")
    except CapillaryError as error:
        return False, sentence(f"{str(error).rstrip('.')}. {_advice(error, settings)} {_asked(settings)}")
    return True, (
        f"Connected to {settings.base_url} as {_caller(settings)}: credentials accepted, badge API reached. "
        "Nothing was written, so whether importing is allowed was not tried."
    )


def sentence(text: str) -> str:
    """The text with a capital letter at its beginning, for Airflow's UI."""
    return f"{text[:1].upper()}{text[1:]}"


def _read(client: BadgeClient, ended: Future[None]) -> None:
    try:
        client.check()
    except BaseException as error:  # noqa: BLE001 - the waiting caller gets it
        ended.set_exception(error)
    else:
        ended.set_result(None)


def _advice(error: CapillaryError, settings: ClientSettings) -> str:
    """Say what to fix. It repeats no text of the server, which is untrusted."""
    if isinstance(error, AuthenticationError):
        return _credentials_advice(settings)
    if isinstance(error, ApiUnavailableError):
        return _no_reply_advice(error.trouble, settings) if error.status is None else _unavailable_advice(error.status)
    if not isinstance(error, ApiError) or error.status is None:
        return _NOT_REACHED
    if error.status == 400 and error.code is None and settings.base_url.startswith("http://"):
        return _MAYBE_TLS  # web servers answer so to http on their port for https
    return _refused_advice(error.status, settings)


def _no_reply_advice(trouble: Trouble | None, settings: ClientSettings) -> str:
    if trouble in _LIKE_TLS and settings.base_url.startswith("http://"):
        return _MAYBE_TLS
    return _NOT_REACHED if trouble is None else _NO_REPLY.get(trouble, _NOT_REACHED)


def _credentials_advice(settings: ClientSettings) -> str:
    if settings.auth_type is AuthType.OAUTH:
        return (
            f"auth_type is oauth, so login ({settings.login!r}) must be the client key and password the client "
            "secret, and host the organisation's cluster. For a till's id and password set auth_type to basic."
        )
    hashed = not settings.password_is_md5 and _LOOKS_HASHED.fullmatch(settings.password)
    hint = " The password looks like an MD5 hash: if it is one, set password_is_md5." if hashed else ""
    return (
        f"auth_type is basic, so login ({settings.login!r}) must be the till id and password the till password, and "
        f"Basic authentication be enabled for the organisation.{hint} For a client key and secret set auth_type to "
        "oauth."
    )


def _unavailable_advice(status: int) -> str:
    if status == 429:
        return "The API was reached, but takes no more requests now. Try again later; see extra requests_per_minute."
    if status >= 500:
        return "The API, or a proxy before it, fails. That says nothing about the connection. Try again later."
    return "This is not a complete reply of the API: check that host is not a web page's, or a proxy's with a login."


def _refused_advice(status: int, settings: ClientSettings) -> str:
    if 300 <= status < 400:
        return "The address redirects, and redirects are never followed: give the final address as host."
    if status == 403:
        return f"The {_caller(settings)} may not read badges: check its access group, and {_BADGES}."
    if status in (404, 405):
        path = urlsplit(settings.base_url).path
        where = f" and its path ({path})" if path else ""
        return f"There is no badge API: check host{where}, and {_BADGES}."
    return f"Check that host is the organisation's cluster, and {_BADGES}."


def _caller(settings: ClientSettings) -> str:
    kind = "till" if settings.auth_type is AuthType.BASIC else "client"
    return f"{kind} {settings.login!r}"


def _asked(settings: ClientSettings) -> str:
    paths = [BADGES_PATH] if settings.auth_type is AuthType.BASIC else [TOKEN_PATH, BADGES_PATH]
    return f"Asked: {', then '.join(f'{settings.base_url}{path}' for path in paths)}"
