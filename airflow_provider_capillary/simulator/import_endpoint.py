"""Simulates ``api_gateway/v1/badges/import/customerBadges``: grants every row of an array, also equal ones."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_capillary.simulator.badge_store import BadgeStore, Earn
from airflow_provider_capillary.simulator.instants import Instant, ServerZone
from airflow_provider_capillary.simulator.messages import (
    JSON,
    Request,
    SimulatedReply,
    parse_error,
    refusal,
    refused_entry,
)
from airflow_provider_capillary.simulator.request_rows import SentRow, UnreadableBodyError, read_rows
from airflow_provider_capillary.simulator.simulator_settings import SimulatorSettings

#: Position (from 1) and row -> code and message of an injected refusal, or ``None``.
RefuseRow = Callable[[int, SentRow], tuple[int, str] | None]

BADGE_NOT_FOUND = (1054, "GLOBAL.BADGE_NOT_FOUND")


class ImportEndpoint:
    """Grants badges. No other part of the simulator grants any."""

    def __init__(self, settings: SimulatorSettings, store: BadgeStore, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._zone = ServerZone(settings.zone)
        self._badges = {badge.id: JSON.encode(badge.id).decode() for badge in settings.badges}

    def __call__(self, request: Request, refuse_row: RefuseRow | None = None) -> SimulatedReply:
        """Grant what can be granted; the reply has one entry per row, in order."""
        try:
            rows = read_rows(request.body, self._settings.timestamps)
        except UnreadableBodyError as error:
            return parse_error(str(error))
        if self._settings.unknown_badge == "call" and any(row[0] not in self._badges for row in rows):
            return refusal(400, *BADGE_NOT_FOUND)
        if self._settings.refuse_repeated_request_ids and not self._store.claim_request_id(request.request_id):
            return refusal(400, 809, "Request with same requestId is not allowed")
        return self._grant(rows, request.request_id, refuse_row)

    def _grant(self, rows: list[SentRow], request_id: str, refuse_row: RefuseRow | None) -> SimulatedReply:
        now = self._clock()
        # The newer page's first sample row has no earnEventDate and succeeds. That it means "now" is a guess.
        moment: Instant = (int(now), 0)
        earns: list[Earn] = []
        entries: list[str] = []
        for position, row in enumerate(rows, 1):
            badge, customer, earned, expires = row
            wrong = self._wrong_with(row) or (refuse_row and refuse_row(position, row))
            if wrong:
                entries.append(refused_entry(*wrong))
            elif badge is not None and customer is not None and expires is not None:
                earns.append((position, customer, badge, earned or moment, expires))
                entries.append("")  # its id is not known yet
        ids = self._store.grant(earns, request_id, now)
        self._print(earns, ids, entries, JSON.encode(request_id).decode()[:-1])
        return SimulatedReply(200, entries=entries)

    def _wrong_with(self, row: SentRow) -> tuple[int, str] | None:
        """The refusal of one row. Only 1054 is documented for this call; the others are borrowed from its siblings."""
        badge, customer, _, expires = row
        if badge not in self._badges:
            return BADGE_NOT_FOUND
        if customer is None:
            return 812, "CustomerId is missing"
        if self._settings.customers is not None and customer not in self._settings.customers:
            return 1026, "Customer with the specified ID is not found"
        if expires is None:
            return 400, "earnExpiresOn is mandatory"
        return None

    def _print(self, earns: list[Earn], ids: list[str], entries: list[str], base: str) -> None:
        iso, badges = self._zone.iso, self._badges
        for (position, customer, badge, _, (seconds, nanos)), earned_id in zip(earns, ids, strict=True):
            # Written by hand: building the same through an encoder takes several times as long.
            entries[position - 1] = (
                f'{{"data":{{"badgeMetaId":{badges[badge]},"customerId":{customer},"earnedBadgeId":"{earned_id}",'
                f'"expiresOn":{_nine_decimals(seconds, nanos)},"expiresOnISO":"{iso(seconds)}",'
                f'"requestId":{base}_{position}","issuedId":null}},"errors":null,"warnings":null}}'
            )


def _nine_decimals(seconds: int, nanos: int) -> str:
    if seconds >= 0 or not nanos:
        return f"{seconds}.{nanos:09d}"
    return f"-{-seconds - 1}.{1_000_000_000 - nanos:09d}"  # before 1970, nanoseconds still count forwards
