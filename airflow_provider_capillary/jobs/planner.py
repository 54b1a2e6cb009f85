"""Decides what to do with each row, from what the ledger holds of it: send it, settle it, or end it unsent.

The planner also remembers the rows that the job has in hand, because the ledger does not know them yet: a row enters
the ledger with its intent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import msgspec

from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held, Plan, doubt_of, plan_once, plan_row
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.jobs.account import Account, issue_of
from airflow_provider_capillary.jobs.repeats import Repeats
from airflow_provider_capillary.jobs.settings import ImportSettings, OnDuplicate
from airflow_provider_capillary.ledger.facts import Issues, RowIssue
from airflow_provider_capillary.ledger.occurrences import OccurrenceCounter
from airflow_provider_capillary.ledger.writer import LedgerWriter

_Found = dict[tuple[int, str], list[Held]]  # by customer and badge

_BEST_FIRST = (RowState.ACCEPTED, RowState.UNKNOWN, RowState.REJECTED)
_ENDS = {
    Plan.ACCEPTED: RowState.ACCEPTED,
    Plan.ALREADY_ACCEPTED: RowState.ALREADY_ACCEPTED,
    Plan.REJECTED: RowState.REJECTED,
}


class Sorted(msgspec.Struct):
    """Rows by what to do with them, each list in dataset order."""

    send: list[EarnedBadge]
    settle: list[tuple[EarnedBadge, Held]]
    done: list[tuple[EarnedBadge, Plan]]
    unseen: bool = False  #: what the ledger holds of the rows to send was not looked up


class WaitingRows:
    """Rows between planning and the commit of their intent. Thread-safe.

    An equal row that comes meanwhile is found here, not in the ledger. Customers are compared first, and rows only
    where customers meet: most customers wait with one row.

    :param any_date: whether rows of one customer and badge are equal whatever the earn date.
    """

    def __init__(self, *, any_date: bool) -> None:
        self._any_date = any_date
        self._lock = threading.Lock()
        self._of_customer: dict[int, EarnedBadge | tuple[EarnedBadge, ...]] = {}

    def __len__(self) -> int:
        """How many customers have waiting rows."""
        with self._lock:
            return len(self._of_customer)

    def key(self, badge: EarnedBadge) -> tuple[object, ...]:
        """What equal rows have in common."""
        if self._any_date:
            return badge.customer_id, badge.badge_meta_id
        return badge.customer_id, badge.badge_meta_id, badge.earned_at, badge.occurrence

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
        """Let these wait from now on."""
        customers = [badge.customer_id for badge in badges]
        with self._lock:
            if len(set(customers)) == len(customers) and self._of_customer.keys().isdisjoint(customers):
                self._of_customer.update(zip(customers, badges, strict=True))  # as nearly always: all at once
                return
            for badge in badges:
                others = self._rows_of(badge.customer_id)
                self._of_customer[badge.customer_id] = (*others, badge) if others else badge

    def remove(self, badges: Sequence[EarnedBadge]) -> None:
        """Forget these: they are in the ledger, or at their end."""
        customers = [badge.customer_id for badge in badges]
        with self._lock:
            if list(map(self._of_customer.get, customers)) == badges:
                for customer in customers:
                    del self._of_customer[customer]
                return
            for badge in badges:
                # a row that is sent again was removed before, and another one of its customer may wait
                others = tuple(one for one in self._rows_of(badge.customer_id) if one is not badge)
                if others:
                    self._of_customer[badge.customer_id] = others
                else:
                    self._of_customer.pop(badge.customer_id, None)

    def _rows_of(self, customer: int) -> tuple[EarnedBadge, ...]:
        found = self._of_customer.get(customer, ())
        return found if isinstance(found, tuple) else (found,)


class Planner:
    """Plans many rows at a time, and ends those that need no request.

    Where the ledger knew nothing of a window's rows, the next window is not looked up. The intent of a batch that was
    not looked up conflicts with whatever the ledger holds of its rows. Such a batch is planned anew by ``sort_again``,
    and from then on windows are looked up again.
    """

    def __init__(self, ledger: LedgerWriter, job: int, settings: ImportSettings, account: Account) -> None:
        self._ledger = ledger
        self._job = job
        self._account = account
        self._once = settings.once_per_customer
        self._waiting = WaitingRows(any_date=self._once)
        self.repeats = Repeats()  #: rows that repeat an earlier one; how they end is known at the end
        # Why rows in hand may be granted twice once they are accepted, by row number. Nearly always empty. No lock: one
        # thread at a time has a row, and each method does one thing to the dict for each row.
        self._doubts: dict[int, str] = {}
        self._must_look = settings.on_duplicate is not OnDuplicate.SKIP or settings.dry_run or self._once
        self._all_new = False  #: the rows that were looked up last, or expected to be
        counts_on_disk = settings.on_duplicate is not OnDuplicate.SKIP or settings.dry_run
        self._counter = OccurrenceCounter(any_date=self._once) if counts_on_disk else None
        self._numbers_occurrences = settings.on_duplicate is OnDuplicate.ALLOW and not self._once

    def close(self) -> None:
        """Give up the counts on disk, if there are any."""
        if self._counter is not None:
            self._counter.close()

    # -- what to do with rows --------------------------------------------------------------------------------------

    def sort_new(self, badges: Sequence[EarnedBadge]) -> Sorted:
        """Sort rows that were just read; those to send or settle wait from now on, until ``release``."""
        repeated: set[int] = set()
        if self._counter is not None:
            badges, repeated = self._counted(badges, self._counter)
        unseen = self._all_new and not self._must_look
        # Check the waiting rows first. A row leaves that set only after its intent is committed, so the look-up in the
        # ledger below cannot miss it.
        repeated |= self._waiting.repeated_by(badges)
        found = {} if unseen else self._find(badges)
        if not unseen:
            self._all_new = not found
        if found or repeated or self._any_equal(badges):
            rows = self._sorted(badges, repeated, found)
        else:
            rows = Sorted(list(badges), [], [])  # as nearly always: new rows
        rows.unseen = unseen
        self._waiting.add(rows.send)
        self._waiting.add([badge for badge, _ in rows.settle])
        return rows

    def preview(self, badges: Sequence[EarnedBadge]) -> Sorted:
        """Sort rows that were just read and are not sent by this pass, so that none of them is kept in memory.

        What repeats an earlier row is found by the counts on disk.
        """
        rows = self.sort_new(badges)
        self.forget([*rows.send, *(badge for badge, _ in rows.settle)])
        return rows

    def sort_again(self, badges: Sequence[EarnedBadge]) -> Sorted:
        """Sort rows that were to be sent, but the ledger holds some of them already."""
        self._all_new = False
        found = self._find(badges)
        rows = Sorted([], [], [])
        for badge in badges:
            self._put(rows, badge, found)
        return rows

    def states_of_equals(self, badges: Sequence[EarnedBadge]) -> dict[int, RowState]:
        """For each row number: the state of the ledger's row of that identity; of several, the best."""
        found = self._find(badges)
        states: dict[int, RowState] = {}
        for badge in badges:
            held = found.get((badge.customer_id, badge.badge_meta_id), ())
            equal = {each.state for each in held if self._once or each.earned_at == badge.earned_at}
            best = next((state for state in _BEST_FIRST if state in equal), None)
            if best is not None:
                states[badge.row_number] = best
        return states

    def _find(self, badges: Sequence[EarnedBadge]) -> _Found:
        return self._ledger.find(badges, any_date=self._once)

    def _any_equal(self, badges: Sequence[EarnedBadge]) -> bool:
        if len({badge.customer_id for badge in badges}) == len(badges):
            return False
        return len(set(map(self._waiting.key, badges))) < len(badges)

    def _counted(
        self, badges: Sequence[EarnedBadge], counter: OccurrenceCounter
    ) -> tuple[Sequence[EarnedBadge], set[int]]:
        """Number equal rows where that is allowed, else name the rows that repeat an earlier one."""
        counts = counter.count(badges)
        if self._numbers_occurrences:
            numbered = [
                badge if count == 1 else msgspec.structs.replace(badge, occurrence=count)
                for badge, count in zip(badges, counts, strict=True)
            ]
            return numbered, set()
        return badges, {badge.row_number for badge, count in zip(badges, counts, strict=True) if count > 1}

    def _sorted(self, badges: Sequence[EarnedBadge], repeated: set[int], found: _Found) -> Sorted:
        rows = Sorted([], [], [])
        taken: set[tuple[object, ...]] = set()
        for badge in badges:
            key = self._waiting.key(badge)
            if badge.row_number in repeated or key in taken:
                rows.done.append((badge, Plan.DUPLICATE))
            elif self._put(rows, badge, found):
                taken.add(key)
        return rows

    def _put(self, rows: Sorted, badge: EarnedBadge, found: _Found) -> bool:
        """Put a row where it belongs; say whether it is still to be worked on."""
        every = found.get((badge.customer_id, badge.badge_meta_id), [])
        same = (held for held in every if held.earned_at == badge.earned_at and held.occurrence == badge.occurrence)
        held = next(same, None)
        doubt = doubt_of(every, earned_at=badge.earned_at, occurrence=badge.occurrence, once=self._once)
        if doubt is not None:
            self.doubt(badge, doubt)
        if self._once:
            plan = plan_once(every, job=self._job, row_number=badge.row_number, earned_at=badge.earned_at)
        else:
            plan = plan_row(held, job=self._job, row_number=badge.row_number)
        if plan is Plan.SEND:
            rows.send.append(badge)
        elif plan is Plan.SETTLE and held is not None:
            rows.settle.append((badge, held))
        else:
            rows.done.append((badge, plan))
            return False
        return True

    # -- rows in hand ------------------------------------------------------------------------------------------------

    @property
    def rows_in_hand(self) -> int:
        """How much is remembered of rows that are not at their end; 0 at the end of a job."""
        return len(self._waiting) + len(self._doubts)

    def release(self, badges: Sequence[EarnedBadge]) -> None:
        """Say that these rows are in the ledger now."""
        self._waiting.remove(badges)

    def forget(self, badges: Sequence[EarnedBadge]) -> None:
        """Say that these rows are at their end."""
        self._waiting.remove(badges)
        self.forget_doubts(badge.row_number for badge in badges)

    def doubt(self, badge: EarnedBadge, why: str) -> None:
        """Remember why the row may be granted twice once it is accepted; the first reason stays."""
        self._doubts.setdefault(badge.row_number, why)

    def doubts_of(self, badges: Sequence[EarnedBadge]) -> dict[int, str]:
        """The doubts of these rows, by row number."""
        if not self._doubts:
            return {}
        found = ((badge.row_number, self._doubts.get(badge.row_number)) for badge in badges)
        return {number: doubt for number, doubt in found if doubt is not None}

    def forget_doubts(self, row_numbers: Iterable[int]) -> None:
        """Say that the rows of these numbers are at their end."""
        for number in row_numbers:
            self._doubts.pop(number, None)

    # -- rows that end without a request -----------------------------------------------------------------------------

    def end(self, done: Sequence[tuple[EarnedBadge, Plan]], origins: Sequence[Window]) -> None:
        """End rows whose end is clear from what the ledger holds."""
        if not done:
            return
        busy, in_doubt = [], []
        doubts = self.doubts_of([badge for badge, _ in done])
        for badge, plan in done:
            if plan is Plan.ACCEPTED and badge.row_number in doubts:
                in_doubt.append(issue_of(badge, origins, RowState.ACCEPTED, "send", doubts[badge.row_number]))
            elif plan is Plan.BUSY:
                busy.append(issue_of(badge, origins, RowState.NOT_SENT, "plan", plan.value))
            elif plan is Plan.DUPLICATE:
                self.repeats.note(badge)
            else:
                self._account.count(_ENDS[plan])
                if plan is Plan.REJECTED:
                    self._account.explain("plan", None, plan.value)
        self.record(busy)
        self.record(in_doubt, only_if_unreported=True)
        self.forget_doubts(doubts)

    def end_unsent(self, batch: Batch, why: str) -> None:
        """End rows that were to be sent, but the job stopped before."""
        self.record([issue_of(badge, batch.origins, RowState.NOT_SENT, "send", why) for badge in batch.badges])
        # or they would stay in memory: after an early stop the rest of the dataset ends here
        self.forget(batch.badges)

    def record(self, issues: Sequence[RowIssue], *, only_if_unreported: bool = False) -> None:
        """Commit the issues of rows that end with one, and count them."""
        if issues:
            self._ledger.record(Issues(issues, only_if_unreported))
            self._account.close_rows(issues)
