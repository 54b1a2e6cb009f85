"""Looks up every badge of the dataset once, before anything is sent."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable

from airflow_provider_capillary.core.backoff import Backoff
from airflow_provider_capillary.datasets.base import Dataset
from airflow_provider_capillary.exceptions import ApiUnavailableError, DatasetError, ImportStoppedError
from airflow_provider_capillary.importing.pace import Pace
from airflow_provider_capillary.importing.stop import StopSignal

log = logging.getLogger(__name__)

NOT_FOUND_CODE = 1054  #: what the API itself answers for a badge that the organisation does not have
NOT_FOUND = "the organisation has no badge of this badgeMetaId (looked up before sending)"
MOST_BADGES = 10_000
_BADGE_ID = re.compile(r"[0-9a-f]{24}")


def badges_of(dataset: Dataset, column: str, window_rows: int) -> set[str]:
    """The distinct well-formed badge ids of the dataset."""
    found: set[str] = set()
    for window in dataset.windows(window_rows):
        found.update(value for value in window.column(column) if isinstance(value, str))
        if len(found) > MOST_BADGES:
            raise DatasetError(
                f"column {column} holds more than {MOST_BADGES} different values; is it really the badgeMetaId? "
                "If so, set check_badges=False"
            )
    lowered = {value.strip(" ").lower() for value in found}
    return {value for value in lowered if _BADGE_ID.fullmatch(value)}


def missing_badges(
    badges: Iterable[str], exists: Callable[[str], bool], backoff: Backoff, stop: StopSignal, pace: Pace
) -> frozenset[str]:
    """The badges that the organisation does not have. Where it has none of them, nothing may be sent at all."""
    wanted = sorted(badges)
    missing = frozenset(badge for badge in wanted if not _exists(badge, exists, backoff, stop, pace))
    if wanted and len(missing) == len(wanted):
        raise ImportStoppedError(
            f"the organisation has none of the {len(wanted)} badges of this dataset (first: {wanted[0]}). "
            "See that the connection and the badgeMetaIds belong to the same organisation. Nothing was sent"
        )
    if missing:
        log.warning(
            "The organisation does not have %d of %d badges: %s", len(missing), len(wanted), sorted(missing)[:10]
        )
    return missing


def _exists(badge: str, exists: Callable[[str], bool], backoff: Backoff, stop: StopSignal, pace: Pace) -> bool:
    tries = 0
    while True:
        pace.wait_for_turn()
        try:
            return exists(badge)
        except ApiUnavailableError as error:
            if backoff.exhausted(tries, asked=error.retry_after) or stop.requested:
                raise
            stop.pause(backoff.seconds(tries, error.retry_after))
            tries += 1
