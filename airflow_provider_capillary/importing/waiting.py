"""Rows on their way to their intent: they are not in the ledger yet, so an equal row that comes later is met here."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from airflow_provider_capillary.core.earned_badge import EarnedBadge


class WaitingRows:
    """Thread-safe. Customers are compared first, and rows only where they meet: most customers wait with one row.

    :param any_date: whether rows of one customer and badge are equal whatever the earn date.
    """

    def __init__(self, *, any_date: bool) -> None:
        self._any_date = any_date
        self._lock = threading.Lock()
        self._of_customer: dict[int, EarnedBadge | tuple[EarnedBadge, ...]] = {}

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
        customers = [badge.customer_id for badge in badges]
        with self._lock:
            if self._of_customer.keys().isdisjoint(customers):
                return set()  # as nearly always
            met = self._of_customer.keys() & set(customers)
            waiting = {self.key(badge) for customer in met for badge in self._rows_of(customer)}
        return {badge.row_number for badge in badges if self.key(badge) in waiting} if waiting else set()

    def add(self, badges: Sequence[EarnedBadge]) -> None:
        """These wait from now on."""
        customers = [badge.customer_id for badge in badges]
        with self._lock:
            if len(set(customers)) == len(customers) and self._of_customer.keys().isdisjoint(customers):
                self._of_customer.update(zip(customers, badges, strict=True))  # as nearly always: all at once
                return
            for badge in badges:
                others = self._rows_of(badge.customer_id)
                self._of_customer[badge.customer_id] = (*others, badge) if others else badge

    def remove(self, badges: Sequence[EarnedBadge]) -> None:
        """These wait no more: they are in the ledger, or at their end."""
        customers = [badge.customer_id for badge in badges]
        with self._lock:
            if list(map(self._of_customer.get, customers)) == badges:
                for customer in customers:
                    del self._of_customer[customer]
                return
            for badge in badges:
                # a row that is sent again was removed before, and another one of its customer waits
                others = tuple(one for one in self._rows_of(badge.customer_id) if one is not badge)
                if others:
                    self._of_customer[badge.customer_id] = others
                else:
                    self._of_customer.pop(badge.customer_id, None)

    def _rows_of(self, customer: int) -> tuple[EarnedBadge, ...]:
        found = self._of_customer.get(customer, ())
        return found if isinstance(found, tuple) else (found,)
