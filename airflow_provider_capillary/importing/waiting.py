"""Rows on their way to their intent: they are not in the ledger yet, so an equal row that comes later is met here."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from airflow_provider_capillary.core.earned_badge import EarnedBadge


class WaitingRows:
    """Thread-safe. Customers are compared first, and rows only where they meet: most customers wait with one row.

    :param any_date: whether rows of one customer and badge are equal whatever the earn date.
    """

    def __init__(self, *, any_date: bool) -> None:
        self._any_date = any_date
        self._lock = threading.Lock()
        self._of_customer: dict[int, tuple[EarnedBadge, ...]] = {}

    def key(self, badge: EarnedBadge) -> tuple[object, ...]:
        """What equal rows have in common."""
        if self._any_date:
            return badge.customer_id, badge.badge_meta_id
        return badge.customer_id, badge.badge_meta_id, badge.earned_at, badge.occurrence

    def any_equal(self, badges: Sequence[EarnedBadge]) -> bool:
        """Whether some of these rows are equal to each other."""
        if len({badge.customer_id for badge in badges}) == len(badges):
            return False
        return len(set(map(self.key, badges))) < len(badges)

    def repeated_by(self, badges: Sequence[EarnedBadge]) -> set[int]:
        """The row numbers of those that are equal to a waiting row."""
        with self._lock:
            customers = self._of_customer.keys() & {badge.customer_id for badge in badges}
            waiting = {self.key(badge) for customer in customers for badge in self._of_customer[customer]}
        return {badge.row_number for badge in badges if self.key(badge) in waiting} if waiting else set()

    def add(self, badges: Iterable[EarnedBadge]) -> None:
        """These wait from now on."""
        with self._lock:
            for badge in badges:
                self._of_customer[badge.customer_id] = (*self._of_customer.get(badge.customer_id, ()), badge)

    def remove(self, badges: Iterable[EarnedBadge]) -> None:
        """These wait no more: they are in the ledger, or at their end."""
        with self._lock:
            for badge in badges:
                waiting = self._of_customer.get(badge.customer_id)
                if waiting is not None and len(waiting) == 1 and waiting[0] is badge:
                    del self._of_customer[badge.customer_id]
                elif waiting:  # a row that is sent again was removed before, and another one of its customer waits
                    self._of_customer[badge.customer_id] = tuple(one for one in waiting if one is not badge)
