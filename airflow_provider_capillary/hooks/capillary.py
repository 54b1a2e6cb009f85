"""The hook: an Airflow Connection turned into the API's client."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.badge_facts import Badge, CustomerBadge, RevokedBadge
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.client.wire import encode_batch
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

    Making the hook touches nothing: the connection is read when it is first needed. All calls but ``import_badges``
    are reads or can be repeated. Besides what a method names, each raises

    - ``ConfigurationError``: a field of the connection is wrong;
    - ``AuthenticationError``: the credentials are not accepted;
    - ``RequestRefusedError``: the API refuses the request, or the address is not that of the API;
    - ``ApiUnavailableError``: no usable reply came, or the API asks to wait (``retry_after``, seconds).

    Ids of badges are 24 hexadecimal digits (``badgeMetaId``), ids of customers whole numbers. Instants that are read
    are whole epoch seconds.

    :param capillary_conn_id: the connection.
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
        """What the connection says.

        :raises ConfigurationError: names the field that is wrong.
        """
        conn = self.get_connection(self.capillary_conn_id)
        if conn.conn_type not in (self.conn_type, "", None):
            self.log.warning(
                "Connection %r is of type %r, and is read as one of type 'capillary'. Choose that type: "
                "its form says what each field is for",
                self.capillary_conn_id,
                conn.conn_type,
            )
        if conn.password:
            mask_secret(conn.password)
            mask_secret(conn.password.rstrip("\r\n"))  # it is used without a line end
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
        """Give the client, which knows nothing of Airflow and is safe to share between threads."""
        return self._client

    @property
    def organisation(self) -> str:
        """The name that stands for this organisation in the ledger: extra ``organisation``, else host and login."""
        return self.settings.organisation

    @property
    def requests_per_minute(self) -> int | None:
        """The request budget of the connection, or ``None`` for no limit."""
        return self.settings.requests_per_minute

    def list_badges(self, *, page_size: int = 100) -> Iterator[Badge]:
        """Go through all badges of the organisation, fetched as they are asked for.

        :param page_size: badges in one request.
        :raises ApiUnavailableError: also where the server repeats itself instead of paging.
        """
        return self.get_conn().list_badges(page_size=page_size)

    def get_badge(self, badge_meta_id: str) -> Badge | None:
        """Give a badge, or ``None`` where the API says that the organisation does not have it (404 or code 1054)."""
        return self.get_conn().get_badge(badge_meta_id)

    def get_customer_badge(self, customer_id: int, badge_meta_id: str) -> CustomerBadge:
        """Give what a customer has of one badge, with statistics. A badge just granted may not show yet.

        :raises ApiUnavailableError: also where the reply names another badge or another customer.
        :raises RequestRefusedError: also where the API knows no such customer (code 1026) or badge (404).
        """
        return self.get_conn().get_customer_badge(customer_id, badge_meta_id)

    def revoke_earned_badge(self, badge_meta_id: str, customer_id: int, earned_badge_id: str) -> RevokedBadge:
        """Take one earned badge back.

        :param earned_badge_id: the id that the API gave when the badge was granted.
        :raises RequestRefusedError: also where it is not active any more (code 814).
        :raises ApiUnavailableError: it may or may not be revoked; asking again does no harm.
        """
        return self.get_conn().revoke_earned_badge(badge_meta_id, customer_id, earned_badge_id)

    def lookup_customer(self, identifier_name: str, identifier_value: str, source: str = "INSTORE") -> int | None:
        """Give a customer's id, or ``None`` where no customer has the identifier (code 8015).

        :param identifier_name: ``mobile``, ``email``, ``externalId``, ``cardnumber`` or another of the API's.
        :param source: the channel whose customers are looked through, as the API names it.
        """
        return self.get_conn().lookup_customer(identifier_name, identifier_value, source)

    def import_badges(self, rows: Sequence[EarnedBadge | Mapping[str, Any]]) -> list[RowOutcome]:
        """Send up to 1,000 rows in one request and give their outcomes, in row order.

        For small, interactive use. There is no ledger behind it: nothing is remembered, so calling it again
        with the same rows grants the badges again, and a row whose outcome is ``unknown`` may or may not have
        been granted. ``BadgeImportOperator`` is what promises more.

        :param rows: earned badges, or dicts with the API's names or their snake_case forms; timestamps are
            epoch seconds, ISO 8601 text with an offset, or aware datetimes.
        :raises DatasetError: a row is not valid; nothing was sent.
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

        Changes nothing, and shows no secret. Where it runs, in Airflow's API server or on a worker, name
        resolution, proxies and CA bundles may differ.
        """
        try:
            client = self.get_conn()
        except ConfigurationError as error:
            # Airflow tests under an id of its own making, which would mean nothing to a person.
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
            f"{len(rows)} rows are more than one request takes ({LARGEST_IMPORT}); use BadgeImportOperator"
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
