"""Calls the API's badge operations for one organisation. Uses neither Airflow nor the ledger; sends nothing twice.

The API: https://docs.capillarytech.com/reference/import-earned-badges-of-customer, and its pages about badges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from airflow_provider_capillary.client import wire, wire_reads
from airflow_provider_capillary.client.auth import Auth, BasicAuth, OAuthAuth, SecretSink, attribution_headers
from airflow_provider_capillary.client.client_settings import AuthType, ClientSettings
from airflow_provider_capillary.client.redaction import redacted
from airflow_provider_capillary.client.transport import Exchange, KeepBack, Transport
from airflow_provider_capillary.client.wire_reads import AccessToken, Badge, BadgeList, CustomerBadge, RevokedBadge
from airflow_provider_capillary.core.reply import ApiProblem, Reply, Transmission, described, listed
from airflow_provider_capillary.exceptions import (
    ApiError,
    ApiUnavailableError,
    AuthenticationError,
    RequestRefusedError,
)

IMPORT_PATH = "/api_gateway/v1/badges/import/customerBadges"
BADGES_PATH = "/api_gateway/v1/badges/badgeMeta"
MANAGEMENT_PATH = "/api_gateway/v1/badges/management"
REVOKE_PATH = "/api_gateway/v1/badges/customer/revokeEarn"
LOOKUP_PATH = "/v2/customers/lookup"
TOKEN_PATH = "/v3/oauth/token/generate"

REQUEST_ID_HEADER = "X-CAP-REQUEST-ID"
MOST_PAGES = 1_000  #: of the badge list; if there are more, the server's paging does not work
LONGEST_REQUEST_ID = 100  #: characters of a request id that the server chose
CHECK_SECONDS = 5.0  #: to connect, and again for the reply, so each request of a check takes at most 10 s
BADGE_ABSENT = frozenset({404, 1054})
CUSTOMER_ABSENT = frozenset({8015})

_FIXED_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "Content-Type": "application/json",
    "User-Agent": "airflow-provider-capillary",
}
_Decoded = TypeVar("_Decoded")


class _Call(NamedTuple):
    """One request, without the headers that say who calls."""

    method: str
    target: str  #: path and query
    body: bytes | None
    request_id: str | None = None
    keep_back: KeepBack | None = None


class BadgeClient:
    """Calls the API. Thread-safe; creating one touches no network.

    Nothing is sent twice, with one exception: after a 401 with OAuth the request is repeated once with a new token,
    because a 401 proves that it was not applied.

    :param clock: monotonic seconds, for the lifetime of tokens.
    :param now: epoch seconds, for ``Retry-After`` dates.
    :param on_secret: called with every derived secret (MD5, ``Basic`` value, token), for masking in logs.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        on_secret: SecretSink | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._now = now
        self._on_secret = on_secret
        self._transport = transport or Transport(settings)
        self._auth = self._make_auth()

    def __repr__(self) -> str:
        return f"BadgeClient({self.settings!r})"

    def close(self) -> None:
        """Close the pooled connections. The client may be used again, and reconnects."""
        self._transport.close()

    # -- the import ------------------------------------------------------------------------------------

    def import_badges(self, body: bytes, request_id: str, keep_back: KeepBack | None = None) -> Reply:
        """Send one batch, once, and give what came back. Network errors are in the reply and are never raised.

        :param body: from :func:`~airflow_provider_capillary.client.wire.encode_batch`.
        :param request_id: sent as ``X-CAP-REQUEST-ID``, for tracing. It is not documented whether the server refuses a
            second request with it, so the call is not safe to repeat.
        :param keep_back: asked when there is a connection and the body is about to leave; if it gives a reason, the
            body is not sent.
        :return: the facts, for :func:`~airflow_provider_capillary.core.outcome.judge`. With ``Transmission.LOST`` the
            server may have granted the badges.
        """
        try:
            exchange = self._exchange(_Call(self.settings.import_method, IMPORT_PATH, body, request_id, keep_back))
        except ApiUnavailableError as error:
            # Only fetching a token raises this, so the batch was not sent, or was answered with 401.
            return Reply(Transmission.NOT_WRITTEN, retry_after=error.retry_after, problem=str(error))
        except ApiError as error:
            # There is no token: 401, or 404 if the token's address does not exist (or redirects).
            status = 401 if isinstance(error, AuthenticationError) else 404
            text = str(error) if status == 401 else f"no token: {error}"
            return Reply(Transmission.REPLIED, status, envelope=[ApiProblem(error.code, text)], problem=text)
        if exchange.transmission is not Transmission.REPLIED:
            return Reply(exchange.transmission, exchange.status, problem=exchange.problem)
        if wire.has_too_many_values(exchange.body, len(body)):
            too_many = f"{len(exchange.body):,} bytes of JSON with more values than an answer to this request has"
            return Reply(Transmission.LOST, exchange.status, problem=too_many)
        reply = wire.decode_reply(exchange.status or 0, exchange.headers, exchange.body, now=self._now())
        return self._without_secrets(reply, exchange.problem)

    # -- reads -----------------------------------------------------------------------------------------

    def list_badges(self, *, page_size: int = 100) -> Iterator[Badge]:
        """Iterate over all badges of the organisation, ``page_size`` a request. Pages are fetched as they are needed.

        :raises ApiUnavailableError: also if the server repeats a page instead of giving the next one.
        """
        seen: set[str] = set()
        for number in range(MOST_PAGES):
            listed = self.badge_page(number, page_size=page_size)
            fresh = [badge for badge in listed.badges if badge.badge_meta_id not in seen]
            if listed.badges and not fresh:
                raise ApiUnavailableError("the badge list repeats itself instead of going on; its paging is not usable")
            seen.update(badge.badge_meta_id for badge in fresh)
            yield from fresh
            # If the reply has no totals, a page that is shorter than asked for is the last one.
            last = len(listed.badges) < page_size if listed.total_pages is None else number + 1 >= listed.total_pages
            if last or not listed.badges:
                return
        raise ApiUnavailableError(f"the badge list has more than {MOST_PAGES} parts; ask for larger ones")

    def badge_page(self, number: int, *, page_size: int = 100) -> BadgeList:
        """Give one page of the organisation's badges, counted from 0. A server may give fewer than were asked for."""
        query = {"page": number, "size": page_size}
        return _there(self._read("GET", BADGES_PATH, wire_reads.decode_badge_list, query=query))

    def get_badge(self, badge_meta_id: str) -> Badge | None:
        """Give a badge, or ``None`` if the API says that the organisation does not have it.

        ``None`` is given only for the API's own error (404 or 1054 in ``errors``). An address that does not exist is a
        wrong host, and raises :class:`RequestRefusedError`.
        """
        path = f"{BADGES_PATH}/{quote(badge_meta_id, safe='')}"
        decode = partial(wire_reads.decode_badge, badge_meta_id=badge_meta_id)
        return self._read("GET", path, decode, absent=BADGE_ABSENT)

    def get_customer_badge(self, customer_id: int, badge_meta_id: str) -> CustomerBadge:
        """Give what a customer has of one badge, with statistics.

        The delay of reads is not documented, so a badge that was just granted may not show yet.

        :raises ApiUnavailableError: also if the reply does not name this badge, or names another customer.
        :raises RequestRefusedError: also if the API knows no such customer (code 1026) or badge (404).
        """
        path = f"{MANAGEMENT_PATH}/{customer_id}/badge/{quote(badge_meta_id, safe='')}"
        decode = partial(wire_reads.decode_customer_badge, customer_id=customer_id, badge_meta_id=badge_meta_id)
        return _there(self._read("GET", path, decode, query={"includeStatistics": "true"}))

    def lookup_customer(self, identifier_name: str, identifier_value: str, source: str = "INSTORE") -> int | None:
        """Give Capillary's id of a customer, or ``None`` if no customer has the identifier (code 8015).

        :param identifier_name: ``mobile``, ``email``, ``externalId``, ``cardnumber``, ...
        :param source: the channel whose customers are searched.
        """
        query = {"source": source, "identifierName": identifier_name, "identifierValue": identifier_value}
        return self._read("GET", LOOKUP_PATH, wire_reads.decode_customer_id, query=query, absent=CUSTOMER_ABSENT)

    def revoke_earned_badge(self, badge_meta_id: str, customer_id: int, earned_badge_id: str) -> RevokedBadge:
        """Revoke one earned badge.

        :raises ApiUnavailableError: it may or may not be revoked. Calling again is safe: code 814 says that it was.
        """
        body = wire_reads.encode_revocation(badge_meta_id, customer_id, earned_badge_id)
        decode = partial(
            wire_reads.decode_revoked,
            badge_meta_id=badge_meta_id,
            customer_id=customer_id,
            earned_badge_id=earned_badge_id,
        )
        return _there(self._read("POST", REVOKE_PATH, decode, body=body))

    def check(self) -> None:
        """Prove with a single, small read that host, credentials and the badge API work.

        :raises ApiError: they do not; see the tree in ``exceptions.py``.
        """
        hurried = msgspec.structs.replace(
            self.settings,
            timeout=min(CHECK_SECONDS, self.settings.timeout),
            connect_timeout=min(CHECK_SECONDS, self.settings.connect_timeout),
        )
        client = BadgeClient(hurried, clock=self._clock, now=self._now, on_secret=self._on_secret)
        try:
            client._read("GET", BADGES_PATH, wire_reads.decode_badge_list, query={"page": 0, "size": 1})
        finally:
            client.close()

    # -- one request -----------------------------------------------------------------------------------

    def _read(
        self,
        method: str,
        path: str,
        decode: Callable[[Any], _Decoded],
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        absent: frozenset[int] = frozenset(),
    ) -> _Decoded | None:
        """Send one read and decode its data; ``None`` if the reply has an error code of ``absent``."""
        target = f"{path}?{urlencode(query)}" if query else path
        return self._decoded(self._exchange(_Call(method, target, body)), decode, absent)

    def _decoded(
        self, exchange: Exchange, decode: Callable[[Any], _Decoded], absent: frozenset[int] = frozenset()
    ) -> _Decoded | None:
        envelope = wire.decode_envelope(exchange.body) if exchange.transmission is Transmission.REPLIED else None
        codes = {problem.code for problem in envelope.errors} if envelope is not None else set()
        if codes & absent and exchange.status in (200, 400, 404):
            return None
        self._raise_for(exchange, envelope)
        try:
            return decode(envelope.data if envelope is not None else None)
        except wire_reads.UndecodableError as error:
            if isinstance(error, wire_reads.OtherReplyError):
                self._transport.close()  # if the connection is out of step, the next reply would be wrong, too
            raise self._unavailable(exchange, str(error)) from None

    def _raise_for(self, exchange: Exchange, envelope: wire.Envelope | None) -> None:
        """Raise the error that an exchange means. HTTP 200 can hold an error, so the status alone never decides."""
        status = exchange.status
        if exchange.transmission is not Transmission.REPLIED or status is None:
            raise self._unavailable(exchange, exchange.problem)
        first = envelope.problems[0] if envelope is not None and envelope.problems else None
        text = described(first) if first else exchange.problem
        if envelope is None:
            text = text or wire.undecodable(exchange.headers, exchange.body)
        if status == 429 or status >= 500 or (envelope is None and status < 300):
            raise self._unavailable(exchange, text, first)
        if status >= 300 or first is not None:
            kind = AuthenticationError if status == 401 else RequestRefusedError
            raise kind(
                self._shown(f"HTTP {status}: {text}" if text else f"HTTP {status}"),
                status=status,
                code=first.code if first else None,
                request_id=self._shown_id(wire.server_request_id(exchange.headers)),
            )

    def _unavailable(self, exchange: Exchange, text: str, problem: ApiProblem | None = None) -> ApiUnavailableError:
        return ApiUnavailableError(
            self._shown(text if exchange.status is None else f"HTTP {exchange.status}: {text}"),
            status=exchange.status,
            code=problem.code if problem else None,
            request_id=self._shown_id(wire.server_request_id(exchange.headers)),
            retry_after=wire.retry_after(exchange.headers, now=self._now()),
            trouble=exchange.trouble,
        )

    def _exchange(self, call: _Call) -> Exchange:
        identity = self._auth.fixed or self._auth.headers()
        exchange = self._send(call, identity)
        if (
            exchange.status != 401
            or exchange.transmission is not Transmission.REPLIED
            or not self._auth.renew(identity)
        ):
            return exchange
        return self._send(call, self._auth.headers())

    def _send(self, call: _Call, identity: Mapping[str, str]) -> Exchange:
        headers = {**_FIXED_HEADERS, **identity}
        if call.request_id is not None:
            headers[REQUEST_ID_HEADER] = call.request_id
        url = f"{self.settings.base_url}{call.target}"
        return self._transport.send(call.method, url, headers, call.body, call.keep_back)

    def _make_auth(self) -> Auth:
        settings = self.settings
        if settings.auth_type is AuthType.BASIC:
            auth: Auth = BasicAuth(settings.login, settings.password, password_is_md5=settings.password_is_md5)
        else:
            auth = OAuthAuth(
                self._fetch_token,
                client_secret=settings.password,
                clock=self._clock,
                attribution=attribution_headers(settings),
                on_secret=self._on_secret,
            )
        if self._on_secret is not None:
            for secret in filter(None, auth.secrets):
                self._on_secret(secret)
        return auth

    def _fetch_token(self) -> AccessToken:
        body = wire_reads.encode_token_request(self.settings.login, self.settings.password)
        exchange = self._send(_Call("POST", TOKEN_PATH, body), {})
        try:
            token = self._decoded(exchange, wire_reads.decode_token)
        except RequestRefusedError as error:
            if error.status == 404 or (error.status or 0) in range(300, 400):
                raise
            # How a bad key is answered is not documented; any refusal of the token call means the credentials.
            raise AuthenticationError(f"no token: {error}", status=error.status, code=error.code) from None
        return _there(token)

    def _without_secrets(self, reply: Reply, problem: str) -> Reply:
        """A server may echo what it was sent: no secret may reach the ledger or a report by way of a message."""
        for entry in [entry for entry in reply.entries or () if entry.errors or entry.warnings]:
            entry.errors = [self._shown_problem(each) for each in listed(entry.errors)]
            entry.warnings = [self._shown_problem(each) for each in listed(entry.warnings)]
        envelope = None if reply.envelope is None else [self._shown_problem(each) for each in reply.envelope]
        return msgspec.structs.replace(
            reply,
            envelope=envelope,
            problem=self._shown(problem or reply.problem),
            server_request_id=self._shown_id(reply.server_request_id),
        )

    def _shown_problem(self, problem: ApiProblem) -> ApiProblem:
        return ApiProblem(problem.code, None if problem.message is None else self._shown(problem.message))

    def _shown(self, text: str) -> str:
        return redacted(text, self._auth.secrets) if text else text

    def _shown_id(self, text: str | None) -> str | None:
        return redacted(text, self._auth.secrets, longest=LONGEST_REQUEST_ID) if text else None


def _there(found: _Decoded | None) -> _Decoded:
    """Narrow the type: a read gives ``None`` only where ``absent`` codes are named."""
    if found is None:
        raise AssertionError("a read without absent codes gave None")
    return found
