"""The hook: turns an Airflow Connection into a client of Capillary's badge API, for tasks of your own."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.client.wire import encode_batch
from airflow_provider_capillary.client.wire_reads import Badge, CustomerBadge, RevokedBadge
from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.outcome import Judgement, RowOutcome, Verdict, judge
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.exceptions import (
    ApiError,
    ApiUnavailableError,
    AuthenticationError,
    ConfigurationError,
    DatasetError,
    RequestRefusedError,
)
from airflow_provider_capillary.hooks import DEFAULT_CONN_ID
from airflow_provider_capillary.hooks.connection import ConnectionFields, ConnectionSettings, connection_settings
from airflow_provider_capillary.hooks.connection_check import checked, sentence

__all__ = ["CapillaryBadgeHook"]

LARGEST_IMPORT = 1000  #: rows in one call of :meth:`CapillaryBadgeHook.import_badges`


class CapillaryBadgeHook(BaseHook):
    """Calls Capillary's badge API with the credentials of a connection of type ``capillary``.

    Creating the hook touches nothing. It reads the connection at the first call. All calls except ``import_badges`` are
    reads, or can be repeated without harm. Besides the errors that a method names, each call raises

    - ``ConfigurationError``: a field of the connection is wrong;
    - ``AuthenticationError``: the credentials are not accepted;
    - ``RequestRefusedError``: the API refuses the request, or the address is not that of the API;
    - ``ApiUnavailableError``: no usable reply came, or the API asks to wait (``retry_after``, seconds).

    Ids of badges are 24 hexadecimal digits (``badgeMetaId``), ids of customers are whole numbers. Instants in results
    are whole epoch seconds. The API: https://docs.capillarytech.com/reference/import-earned-badges-of-customer.

    :param capillary_conn_id: id of a connection of type ``capillary``.
    """

    conn_name_attr = "capillary_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "capillary"
    hook_name = "Capillary"

    def __init__(self, capillary_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.capillary_conn_id = capillary_conn_id

    @functools.cached_property
    def settings(self) -> ConnectionSettings:
        """The connection's fields, checked.

        :raises ConfigurationError: a field is wrong; the message names it.
        """
        conn = self.get_connection(self.capillary_conn_id)
        if conn.conn_type not in (self.conn_type, "", None):
            self.log.warning(
                "Connection %r is of type %r, and is read as one of type 'capillary'. Choose that type, because its "
                "form explains each field",
                self.capillary_conn_id,
                conn.conn_type,
            )
        if conn.password:
            mask_secret(conn.password)
            mask_secret(conn.password.rstrip("\r\n"))  # the form in which it is sent
        return connection_settings(
            ConnectionFields(
                conn_id=self.capillary_conn_id,
                host=conn.host,
                schema=conn.schema,
                port=conn.port,
                login=conn.login,
                password=conn.password,
                extra=conn.extra,
            )
        )

    @functools.cached_property
    def _client(self) -> BadgeClient:
        return BadgeClient(self.settings.client, on_secret=mask_secret)

    def get_conn(self) -> BadgeClient:
        """Give the client. It does not depend on Airflow, and threads may share it.

        :raises ConfigurationError: a field of the connection is wrong.
        """
        return self._client

    @property
    def organisation(self) -> str:
        """The organisation's name in the ledger: extra ``organisation``, else host, path and login."""
        return self.settings.organisation

    @property
    def requests_per_minute(self) -> int | None:
        """The request budget of the connection, or ``None`` for no limit."""
        return self.settings.requests_per_minute

    def list_badges(self, *, page_size: int = 100) -> Iterator[Badge]:
        """Iterate over all badges of the organisation. Pages are fetched as they are needed.

        :param page_size: badges in one request.
        :raises ApiUnavailableError: also if the server repeats a page instead of giving the next one.
        """
        return self.get_conn().list_badges(page_size=page_size)

    def get_badge(self, badge_meta_id: str) -> Badge | None:
        """Give a badge, or ``None`` if the API says that the organisation does not have it (404 or code 1054).

        :param badge_meta_id: the badge's id, 24 hexadecimal digits.
        """
        return self.get_conn().get_badge(badge_meta_id)

    def get_customer_badge(self, customer_id: int, badge_meta_id: str) -> CustomerBadge:
        """Give what a customer has of one badge, with statistics. A badge that was just granted may not show yet.

        :param customer_id: Capillary's own id of the customer.
        :param badge_meta_id: the badge's id, 24 hexadecimal digits.
        :raises ApiUnavailableError: also if the reply names another badge or another customer.
        :raises RequestRefusedError: also if the API knows no such customer (code 1026) or badge (404).
        """
        return self.get_conn().get_customer_badge(customer_id, badge_meta_id)

    def revoke_earned_badge(self, badge_meta_id: str, customer_id: int, earned_badge_id: str) -> RevokedBadge:
        """Revoke one earned badge.

        :param badge_meta_id: the badge's id, 24 hexadecimal digits.
        :param customer_id: Capillary's own id of the customer.
        :param earned_badge_id: the id that the API gave when it granted the badge.
        :raises RequestRefusedError: also if the earned badge is no longer active (code 814).
        :raises ApiUnavailableError: it may or may not be revoked; a second call does no harm.
        """
        return self.get_conn().revoke_earned_badge(badge_meta_id, customer_id, earned_badge_id)

    def lookup_customer(self, identifier_name: str, identifier_value: str, source: str = "INSTORE") -> int | None:
        """Give a customer's id, or ``None`` if no customer has the identifier (code 8015).

        :param identifier_name: ``mobile``, ``email``, ``externalId``, ``cardnumber`` or another name of the API.
        :param identifier_value: the customer's mobile number, address, id or card number.
        :param source: the channel whose customers are searched, as the API names it.
        """
        return self.get_conn().lookup_customer(identifier_name, identifier_value, source)

    def import_badges(self, rows: Sequence[EarnedBadge | Mapping[str, Any]]) -> list[RowOutcome]:
        """Send up to 1,000 rows in one request and give their outcomes, in row order.

        It is for small, interactive use, without a ledger. Nothing is remembered, so a second call with the same rows
        grants the badges again. A row whose outcome is ``unknown`` may or may not have been granted. To import without
        these risks, use ``BadgeImportOperator``.

        :param rows: earned badges, or dicts with the API's names or their snake_case forms; timestamps are
            epoch seconds, ISO 8601 text with an offset, or aware datetimes.
        :return: a ``RowOutcome`` for each row: ``state`` (accepted, rejected or unknown), ``earned_badge_id``, ``code``
            and ``message``.
        :raises DatasetError: a row is not valid, or there are too many; nothing was sent.
        :raises ApiUnavailableError: not applied; the same rows may be sent later.
        :raises AuthenticationError: not applied; the credentials are not accepted.
        :raises RequestRefusedError: not applied; the request as a whole was refused.
        """
        badges = _earned_badges(rows)
        if not badges:
            return []
        body = encode_batch(badges, self.settings.client.timestamp_format)
        reply = self.get_conn().import_badges(body, str(uuid.uuid4()))
        judgement = judge(badges, reply)
        if judgement.verdict not in (Verdict.PER_ROW, Verdict.UNKNOWN):
            raise _refusal(judgement, reply, self.settings.client)
        return list(judgement.rows)

    def test_connection(self) -> tuple[bool, str]:
        """Read one badge of the list within 10 seconds, and say whether that works or what to fix.

        It changes nothing and shows no secret. Airflow's API server runs it. Name resolution, proxies and CA bundles
        may differ on a worker.

        :return: whether it works, and a text for people.
        """
        try:
            client = self.get_conn()
        except ConfigurationError as error:
            # Airflow tests a form under a made-up id, which would confuse its reader.
            return False, sentence(str(error).removeprefix(f"connection {self.capillary_conn_id!r}: "))
        return checked(client)


def _refusal(judgement: Judgement, reply: Reply, settings: ClientSettings) -> ApiError:
    """The error for a request that was proven not to be applied."""
    status, code, request_id = reply.status, judgement.code, reply.server_request_id
    if judgement.verdict is Verdict.RETRY_LATER:
        return ApiUnavailableError(
            judgement.reason, status=status, code=code, request_id=request_id, retry_after=judgement.retry_after
        )
    kind = AuthenticationError if status == 401 else RequestRefusedError
    message = f"{judgement.reason}{_method_hint(status, settings)}"
    return kind(message, status=status, code=code, request_id=request_id)


def _method_hint(status: int | None, settings: ClientSettings) -> str:
    if status not in (404, 405):
        return ""
    other = "POST" if settings.import_method == "PUT" else "PUT"
    return f"; sent as {settings.import_method.value}: the organisation may want extra import_method {other}"


def _earned_badges(rows: Sequence[EarnedBadge | Mapping[str, Any]]) -> list[EarnedBadge]:
    if len(rows) > LARGEST_IMPORT:
        raise DatasetError(
            f"{len(rows):,} rows are more than one request takes ({LARGEST_IMPORT:,}); use BadgeImportOperator"
        )
    return [_earned_badge(number, row) for number, row in enumerate(rows, 1)]


def _earned_badge(number: int, row: EarnedBadge | Mapping[str, Any]) -> EarnedBadge:
    if isinstance(row, EarnedBadge):
        return row
    columns = resolve_columns(column_choices(None), list(row))
    values = ([row[name]] if name else () for name in msgspec.structs.astuple(columns))
    [checked] = RowReader(columns, None).read(number, *values)
    if isinstance(checked, InvalidRow):
        raise DatasetError(f"row {number}: {checked.message}")
    return checked
