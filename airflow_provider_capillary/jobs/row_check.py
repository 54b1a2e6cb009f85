"""Checks rows before they are sent: their columns, and whether the organisation has their badge; and sorts them."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, NamedTuple

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.core.column_choice import Columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.field_mapping import RowReader, Values
from airflow_provider_capillary.core.plain_values import BLANKS
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.timestamps import UNITS
from airflow_provider_capillary.datasets.base import Dataset, Window
from airflow_provider_capillary.datasets.inspection import MOST_TEXTS, DistinctTexts
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    DatasetError,
    ImportStoppedError,
    RequestRefusedError,
)
from airflow_provider_capillary.jobs.account import issue_of
from airflow_provider_capillary.jobs.pacing import Pace
from airflow_provider_capillary.jobs.settings import TimestampUnit
from airflow_provider_capillary.ledger.facts import RowIssue

log = logging.getLogger(__name__)

NOT_FOUND_CODE = 1054  #: the API's own code for a badge that the organisation does not have
NOT_FOUND = "the organisation has no badge of this badgeMetaId (looked up before sending)"
FEW_BADGES = 10  #: up to so many are looked up one by one, without the list
BADGES_A_PAGE = 100
_BADGE_ID = re.compile(r"[0-9a-f]{24}")
MOST_ROWS = 100_000  #: sorted together
MOST_BYTES = 16 * 2**20  #: of the windows that are held for sorting, with all columns, which a report may need

_Rows = tuple[EarnedBadges, Sequence[Window]]


class RowChecker:
    """Checks the rows of one window after the other.

    :param zone: for instants without an offset; ``None``: such rows are invalid.
    :param missing: ids of badges that the organisation does not have.
    :param unit: of instants that are numbers in the dataset, ``s`` or ``ms``.
    :param badge_ids: well-formed ids of badges, in lower case. Rows with these need no check of their id one by one.
    """

    def __init__(
        self,
        columns: Columns,
        zone: tzinfo | None,
        missing: Collection[str],
        unit: str = TimestampUnit.SECONDS,
        badge_ids: Iterable[str] = (),
    ) -> None:
        self._names: tuple[str | None, ...] = msgspec.structs.astuple(columns)
        self._reader = RowReader(columns, zone, unit, badge_ids)
        self._scale = UNITS[unit]
        self._missing = frozenset(missing)

    def check(self, window: Window) -> tuple[EarnedBadges, list[RowIssue]]:
        """Give the rows that may be sent, and an issue for each of the others."""
        columns = [self._values(window, name) if name else () for name in self._names]
        missing, rows = self._missing, self._reader.read(window.first_row_number, *columns)
        if isinstance(rows, EarnedBadges) and rows.has_none_of(missing):
            return rows, []
        rows = list(rows)
        given = window.column(self._names[0]) if self._names[0] else ()
        badges = [row for row in rows if isinstance(row, EarnedBadge) and row.badge_meta_id not in missing]
        return EarnedBadges.of(badges), [
            issue for row in rows if (issue := self._issue(row, window, given)) is not None
        ]

    def _values(self, window: Window, name: str) -> Values:
        if self._scale != 1 and window.is_in_seconds(name):
            return [value * self._scale if isinstance(value, int) else value for value in window.column(name)]
        array = window.arrow(name)
        return window.column(name) if array is None else array

    def _issue(self, row: EarnedBadge | InvalidRow, window: Window, badge_ids: Sequence[Any]) -> RowIssue | None:
        if isinstance(row, InvalidRow):
            # The badge may be good although another value is not. It is kept, because the report counts by badge.
            given = badge_ids[row.row_number - window.first_row_number]
            text = given.strip(BLANKS).lower() if isinstance(given, str) else ""
            badge = text if _BADGE_ID.fullmatch(text) else None
            return issue_of(row, [window], RowState.INVALID, "validate", row.message, badge_meta_id=badge)
        if row.badge_meta_id in self._missing:
            return issue_of(row, [window], RowState.REJECTED, "badge_check", NOT_FOUND, code=NOT_FOUND_CODE)
        return None


def in_customer_order(windows: Iterable[tuple[EarnedBadges, Window]]) -> Iterator[_Rows]:
    """Give the rows window by window; if a window is in no order, many windows are sorted together.

    The ledger's table is ordered by customer, so rows in order are written side by side. Rows in no order cost three to
    five times as much, because each of them touches another page. The sort is stable, so the rows of one customer stay
    in the dataset's order.

    :param windows: the good rows of each window, and the window.
    :return: rows, and the windows that hold them, in the dataset's order.
    """
    parts: list[EarnedBadges] = []
    held: list[Window] = []
    rows = size = 0
    for badges, window in windows:
        if not held and badges.is_by_customer():
            yield badges, [window]
            continue
        parts.append(badges)
        held.append(window)
        rows += len(badges)
        size += _size(window)
        if rows >= MOST_ROWS or size >= MOST_BYTES:
            yield from _sorted(parts, held)
            parts, held, rows, size = [], [], 0, 0
    if held:
        yield from _sorted(parts, held)


def _size(window: Window) -> int:
    """About how many bytes a window takes, estimated by its first row. A Python value takes twice its text."""
    return 2 * len(msgspec.json.encode(window.original(0))) * len(window) if len(window) else 0


def _sorted(parts: Sequence[EarnedBadges], windows: Sequence[Window]) -> Iterator[_Rows]:
    """The rows of all parts in order, as many at a time as a part had."""
    ordered = EarnedBadges.joined(parts).by_customer()
    most = max(map(len, parts))
    for start in range(0, len(ordered), most or 1):
        yield ordered[start : start + most], windows


def badge_ids_of(dataset: Dataset, column: str, window_rows: int) -> set[str]:
    """The distinct well-formed badge ids of the dataset.

    The dataset's inspection has collected them, unless it was opened for another column.

    :raises DatasetError: there are more than an organisation can have badges.
    """
    gathered = dataset.inspect().distinct
    if column not in gathered:
        texts = DistinctTexts((column,))
        texts.column_among((column,))
        for window in dataset.windows(window_rows):
            texts.add(window.column(column))
        gathered = texts.by_column()
    found = gathered[column]
    if len(found) > MOST_TEXTS:
        raise DatasetError(
            f"column {column} holds more than {MOST_TEXTS:,} different values, which is more than an organisation has "
            "badges. Name the column of the badgeMetaId in field_mapping, or set check_badges=False"
        )
    lowered = {value.strip(BLANKS).lower() for value in found}
    return {value for value in lowered if _BADGE_ID.fullmatch(value)}


class LookedUp(NamedTuple):
    """What the organisation says about some badges."""

    missing: frozenset[str]  #: ids of those that it does not have
    names: dict[str, str]  #: of the others, as far as they have one


def look_up_badges(badge_ids: Collection[str], client: BadgeClient, pace: Pace) -> LookedUp:
    """Ask the organisation for badges.

    Many badges are first searched in the organisation's list, one page a request. A list may be cut, change while it is
    paged, or leave badges out. So a badge that is not in it is looked up alone before it counts as missing.

    :raises ImportStoppedError: the organisation has none of them, so nothing may be sent.
    """
    names = _listed(badge_ids, client, pace) if len(badge_ids) > FEW_BADGES else {}
    unlisted = sorted(set(badge_ids) - names.keys())
    alone = {badge: pace.call(partial(client.get_badge, badge)) for badge in unlisted}
    missing = frozenset(badge for badge, found in alone.items() if found is None)
    names |= {badge: found.name for badge, found in alone.items() if found is not None}
    if badge_ids and len(missing) == len(badge_ids):
        raise ImportStoppedError(
            f"the organisation has none of the {len(missing)} badges of this dataset (first: {min(missing)}). "
            "Check that the connection and the badgeMetaIds belong to the same organisation. Nothing was sent"
        )
    if missing:
        log.warning(
            "The organisation does not have %d of %d badges: %s", len(missing), len(badge_ids), sorted(missing)[:10]
        )
    return LookedUp(missing, {badge: name for badge, name in names.items() if name})


def _listed(badge_ids: Collection[str], client: BadgeClient, pace: Pace) -> dict[str, str | None]:
    """The names, by id, of badges in the organisation's list, as long as pages cost fewer requests than look-ups."""
    wanted, seen = set(badge_ids), dict[str, str | None]()
    pages = 0
    try:
        # A page costs as much as one look-up, so stop once there are as many pages as badges left to find.
        while (left := wanted - seen.keys()) and pages < len(left):
            page = pace.call(partial(client.badge_page, pages, page_size=BADGES_A_PAGE))
            pages += 1
            shown = {badge.badge_meta_id.lower(): badge.name for badge in page.badges}
            fresh = shown.keys() - seen.keys()
            seen |= shown
            ended = len(page.badges) < BADGES_A_PAGE if page.total_pages is None else pages >= page.total_pages
            if ended or not fresh or (page.total_pages or 0) - pages >= len(wanted - seen.keys()):
                break
    except (ApiUnavailableError, RequestRefusedError) as error:
        log.info("The list of badges cannot be read, each badge is looked up alone: %s", error)
    return {badge: seen[badge] for badge in wanted & seen.keys()}
