"""Sorts rows by customer before they are batched, if the dataset does not give them in that order.

The ledger's table is ordered by customer. Rows in order are written side by side. Rows in no order cost three to five
times as much, because each of them touches another page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.datasets.base import Window

MOST_ROWS = 100_000  #: sorted together
MOST_BYTES = 16 * 2**20  #: of the windows that are held for sorting, with all columns, which a report may need

_Rows = tuple[EarnedBadges, Sequence[Window]]


def in_customer_order(windows: Iterable[tuple[EarnedBadges, Window]]) -> Iterator[_Rows]:
    """Give the rows window by window; if a window is in no order, many windows are sorted together.

    The sort is stable, so the rows of one customer stay in the dataset's order.

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
