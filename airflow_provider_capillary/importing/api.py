"""The API as an import sees it: one organisation, encoded bodies out, facts back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from airflow_provider_capillary.client import wire
from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.core.earned_badge import LARGEST, EarnedBadge
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.core.verification import CustomerBadgeView
from airflow_provider_capillary.importing.delivery import Sender
from airflow_provider_capillary.importing.verifier import Reader


class Api(Sender, Reader, Protocol):
    """What the job needs of the API, for one organisation."""

    @property
    def organisation(self) -> str:
        """The name that stands for the organisation in the ledger."""
        ...

    @property
    def host(self) -> str:
        """Where the API is."""
        ...

    @property
    def wire_settings(self) -> dict[str, str]:
        """The connection's settings that change what is sent."""
        ...

    @property
    def requests_per_minute(self) -> int | None:
        """The budget of requests that all tasks on the ledger share; ``None``: none."""
        ...

    def has_badge(self, badge_meta_id: str) -> bool:
        """Whether the organisation has the badge."""
        ...

    @property
    def largest_row(self) -> int:
        """How many bytes a row takes at most."""
        ...

    def row_size(self, badge: EarnedBadge) -> int:
        """How many bytes a row takes in the body, separator included."""
        ...


class CapillaryApi:
    """A client, and the name that stands for its organisation in the ledger."""

    def __init__(self, client: BadgeClient, organisation: str, requests_per_minute: int | None = None) -> None:
        self._client = client
        self._format = client.settings.timestamp_format
        self.organisation = organisation
        self.requests_per_minute = requests_per_minute
        self.host = client.settings.base_url
        self.largest_row = wire.row_size(LARGEST, self._format)
        self.import_method = client.settings.import_method.value
        self.wire_settings = {"timestamp_format": self._format.value, "import_method": self.import_method}

    def encode(self, badges: Sequence[EarnedBadge]) -> bytes:
        """The request's body; the same rows give the same bytes."""
        return wire.encode_batch(badges, self._format)

    def row_size(self, badge: EarnedBadge) -> int:
        """How many bytes a row takes in the body, separator included."""
        return wire.row_size(badge, self._format)

    def import_badges(self, body: bytes, request_id: str, keep_back: Callable[[], str | None] | None = None) -> Reply:
        """Send one request; see ``BadgeClient.import_badges``."""
        return self._client.import_badges(body, request_id, keep_back)

    def has_badge(self, badge_meta_id: str) -> bool:
        """Whether the organisation has the badge."""
        return self._client.get_badge(badge_meta_id) is not None

    def view_customer_badge(self, customer_id: int, badge_meta_id: str) -> CustomerBadgeView:
        """Read one badge of one customer back."""
        return self._client.get_customer_badge(customer_id, badge_meta_id).view()
