"""Makes the headers that prove who calls: Basic of a till, or Capillary's own OAuth, which is not RFC 6749."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.client.wire_reads import AccessToken

TOKEN_HEADER = "X-CAP-API-OAUTH-TOKEN"
ATTRIBUTION_TYPE_HEADER = "X-CAP-API-ATTRIBUTION-ENTITY-TYPE"
ATTRIBUTION_CODE_HEADER = "X-CAP-API-ATTRIBUTION-ENTITY-CODE"

#: A token is renewed this many seconds before it expires, or a tenth of its lifetime if that is less.
EXPIRY_MARGIN = 30.0

SecretSink = Callable[[str], None]


class Auth(Protocol):
    """What the client needs of a way to authenticate."""

    fixed: dict[str, str] | None  #: the headers if they never change, else None
    secrets: tuple[str, ...]  #: texts that must never be shown

    def headers(self) -> dict[str, str]:
        """Give the headers that prove who calls. It may fetch a token, and raises what the fetch raises."""
        ...

    def renew(self, rejected: Mapping[str, str]) -> bool:
        """Get new headers after a 401 to ``rejected``; ``False`` if there is nothing new to try."""
        ...


class BasicAuth:
    """``Basic base64(till id:md5 of the till password)``. A 401 is final: there is nothing to renew."""

    def __init__(self, till_id: str, password: str, *, password_is_md5: bool = False) -> None:
        digest = password.lower() if password_is_md5 else md5_hex(password)
        encoded = base64.b64encode(f"{till_id}:{digest}".encode()).decode("ascii")
        self._headers = {"Authorization": f"Basic {encoded}"}
        self.fixed: dict[str, str] | None = self._headers
        self.secrets: tuple[str, ...] = (password, digest, encoded)

    def headers(self) -> dict[str, str]:
        """Give the ``Authorization`` header."""
        return self._headers

    def renew(self, rejected: Mapping[str, str]) -> bool:
        """Give ``False``: the same credentials would be refused again."""
        return False


class OAuthAuth:
    """A token of the API's own kind, kept until shortly before it expires, and shared by all threads.

    If several threads are refused with one token, only the first fetches a new one. Old tokens stay among the secrets,
    because a server may repeat an old one in its texts.

    :param fetch: gets a new token from the API; what it raises reaches the caller of :meth:`headers`.
    :param clock: monotonic seconds.
    :param on_secret: called with every token, so that logs can mask it.
    """

    fixed: dict[str, str] | None = None

    def __init__(
        self,
        fetch: Callable[[], AccessToken],
        *,
        client_secret: str,
        clock: Callable[[], float],
        attribution: Mapping[str, str] | None = None,
        on_secret: SecretSink | None = None,
    ) -> None:
        self.secrets: tuple[str, ...] = (client_secret,)
        self._fetch = fetch
        self._clock = clock
        self._attribution = dict(attribution or {})
        self._on_secret = on_secret
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0

    def headers(self) -> dict[str, str]:
        """Give the header of the token, and those of the attribution."""
        with self._lock:
            if not self._token or self._clock() >= self._renew_at:
                self._refresh()
            return {TOKEN_HEADER: self._token, **self._attribution}

    def renew(self, rejected: Mapping[str, str]) -> bool:
        """Fetch a new token, unless another thread did so since ``rejected`` was sent."""
        with self._lock:
            if rejected.get(TOKEN_HEADER) == self._token:
                self._refresh()
            return True

    def _refresh(self) -> None:
        # Dropped first: if the fetch fails, the next caller must not use a token that was refused.
        self._token = ""
        fetched = self._fetch()
        self.secrets = (*self.secrets, fetched.token)
        if self._on_secret is not None:
            self._on_secret(fetched.token)
        margin = min(EXPIRY_MARGIN, fetched.lifetime / 10)
        self._token, self._renew_at = fetched.token, self._clock() + fetched.lifetime - margin


def md5_hex(password: str) -> str:
    """Give the form in which the API wants a till's password. It protects nothing: it serves as the password."""
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()


def attribution_headers(settings: ClientSettings) -> dict[str, str]:
    """Give the headers that act for another till or store."""
    if settings.attribution_entity_code is None:
        return {}
    return {
        ATTRIBUTION_TYPE_HEADER: settings.attribution_entity_type or "TILL",
        ATTRIBUTION_CODE_HEADER: settings.attribution_entity_code,
    }
