"""Decides what to do with each row, from what the ledger holds of it: send it, settle it, or end it without sending.

Rows that are being sent are not kept in memory. Equal rows belong to one customer, so to one lane. ``without_repeats``
finds them within a batch. The intent of a later batch conflicts with the row that an earlier one put into the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import msgspec

from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.planning import Held, Plan, doubt_of, plan_once, plan_row
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.jobs.account import Account, issue_of
from airflow_provider_capillary.jobs.repeats import Repeats
from airflow_provider_capillary.jobs.settings import ImportSettings, OnDuplicate
from airflow_provider_capillary.ledger.equal_rows import OccurrenceCounter
from airflow_provider_capillary.ledger.facts import Issues, RowIssue
from airflow_provider_capillary.ledger.writer import LedgerWriter

_Found = dict[tuple[int, str], list[Held]]  # by customer and badge

_BEST_FIRST = (RowState.ACCEPTED, RowState.REVOKED, RowState.UNKNOWN, RowState.REJECTED)
_ENDS = {
    Plan.ACCEPTED: RowState.ACCEPTED,
    Plan.ALREADY_ACCEPTED: RowState.ALREADY_ACCEPTED,
    Plan.REVOKED: RowState.ALREADY_ACCEPTED,
    Plan.REJECTED: RowState.REJECTED,
}


class ToDo(msgspec.Struct):
    """Rows by what to do with them, each list in dataset order."""

    send: Sequence[EarnedBadge]
    settle: list[tuple[EarnedBadge, Held]]  #: unknown, as an earlier try or another job left them
    done: list[tuple[EarnedBadge, Plan]]  #: they need no request
    unseen: bool = False  #: the rows to send were not looked up in the ledger
    already: int = 0  #: further rows that an earlier job has accepted; they are only counted


class Planner:
    """Plans many rows at a time, and ends those that need no request.

    If the ledger held none of a window's rows, the next window is not looked up. The intent of a batch that was not
    looked up conflicts if the ledger holds one of its rows. ``plan_again`` then plans that batch again, and from then
    on windows are looked up again.
    """

    def __init__(self, ledger: LedgerWriter, job: int, settings: ImportSettings, account: Account) -> None:
        self._ledger = ledger
        self._job = job
        self._account = account
        self._once = settings.once_per_customer
        self.repeats = Repeats()  #: rows that repeat an earlier one; how they end is known at the end
        # Row number -> why the row may be granted twice once it is accepted. Nearly always empty. It needs no lock: one
        # thread at a time has a row, and each method changes one entry for each row.
        self._doubts: dict[int, str] = {}
        self._must_look = settings.on_duplicate is not OnDuplicate.SKIP or settings.dry_run or self._once
        self._all_new = False  #: whether the ledger held none of the rows that were looked up last
        counts_on_disk = settings.on_duplicate is not OnDuplicate.SKIP or settings.dry_run
        self._counter = OccurrenceCounter(any_date=self._once) if counts_on_disk else None
        self._names_duplicates = settings.on_duplicate is OnDuplicate.FAIL
        self._numbers_occurrences = settings.on_duplicate is OnDuplicate.ALLOW and not self._once

    @property
    def rows_in_doubt(self) -> int:
        """How many rows in doubt are not at their end yet."""
        return len(self._doubts)

    def close(self) -> None:
        """Remove the counts on disk, if there are any."""
        if self._counter is not None:
            self._counter.close()

    # -- what to do with rows --------------------------------------------------------------------------------------

    def plan_new(self, badges: EarnedBadges) -> ToDo:
        """Say what to do with rows that were just read."""
        repeated: set[int] = set()
        if self._counter is not None:
            badges, repeated = self._counted(badges, self._counter)
        unseen = self._all_new and not self._must_look
        found = {} if unseen else self._find(badges)
        if not unseen:
            self._all_new = not found
        already = 0
        if found and not repeated and not self._names_duplicates:
            badges, already = self._without_accepted(badges, found)
        rows = self._planned(badges, repeated, found) if found or repeated else ToDo(badges, [], [])
        rows.unseen, rows.already = unseen, already
        return rows

    def preview(self, badges: EarnedBadges) -> ToDo:
        """Say what would be done with rows that this pass does not send. The counts on disk find repeats."""
        rows = self.plan_new(badges)
        self.forget_doubts(badges.row_numbers)
        return rows

    def without_repeats(self, batch: Batch) -> Batch:
        """End the rows of a batch that repeat an earlier one of it; give the batch without them."""
        badges = batch.badges
        if len(set(badges.customer_ids)) == len(badges):
            return batch  # nearly always each customer has one row, so no two rows are equal
        first: dict[tuple[object, ...], int] = {}
        is_first = [first.setdefault(key, position) == position for position, key in enumerate(self._keys(badges))]
        if all(is_first):
            return batch
        for badge, stays in zip(badges, is_first, strict=True):
            if not stays:
                self.repeats.note(badge)
        unseen, batch = batch.unseen, batch.part(badges.where(is_first))
        batch.unseen = unseen
        return batch

    def plan_again(self, badges: Sequence[EarnedBadge]) -> ToDo:
        """Say what to do with rows of a batch whose intent found that the ledger holds some of them already."""
        self._all_new = False
        return self._planned(badges, set(), self._find(badges))

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

    def _without_accepted(self, badges: EarnedBadges, found: _Found) -> tuple[EarnedBadges, int]:
        """Leave out the rows that another job has accepted without doubt; give how many they are.

        Only rows whose customer and badge have no other row in the ledger are left out. If a night is imported again,
        these are nearly all rows.
        """
        if self._once or badges.occurrences is not None:
            return badges, 0
        pairs = zip(badges.customer_ids, badges.badge_meta_ids, strict=True)
        is_left = [
            len(every) != 1
            or (held := every[0]).state is not RowState.ACCEPTED
            or held.doubt is not None
            or held.job == self._job
            or held.occurrence != 1
            or held.earned_at != earned_at
            for every, earned_at in zip(map(found.get, pairs, repeat(())), badges.earned_at, strict=True)
        ]
        left = is_left.count(True)
        return (badges, 0) if left == len(badges) else (badges.where(is_left), len(badges) - left)

    def _keys(self, badges: EarnedBadges) -> Iterable[tuple[object, ...]]:
        """A key for each row; equal rows have equal keys."""
        if self._once:
            return zip(badges.customer_ids, badges.badge_meta_ids, strict=True)
        occurrences = badges.occurrences or repeat(1, len(badges))
        return zip(badges.customer_ids, badges.badge_meta_ids, badges.earned_at, occurrences, strict=True)

    def _counted(self, badges: EarnedBadges, counter: OccurrenceCounter) -> tuple[EarnedBadges, set[int]]:
        """Number equal rows if ``on_duplicate`` allows them, else give the rows that repeat an earlier one."""
        counts = counter.count(badges)
        if self._numbers_occurrences:
            return badges.numbered(counts), set()
        return badges, {number for number, count in zip(badges.row_numbers, counts, strict=True) if count > 1}

    def _planned(self, badges: Sequence[EarnedBadge], repeated: set[int], found: _Found) -> ToDo:
        send: list[EarnedBadge] = []
        rows = ToDo(send, [], [])
        planned: set[tuple[object, ...]] = set()  # of two equal rows that another job left unknown, one is taken over
        for badge, key in zip(badges, self._keys(EarnedBadges.of(badges)), strict=True):
            if badge.row_number in repeated or key in planned:
                rows.done.append((badge, Plan.DUPLICATE))
            elif self._put(rows, send, badge, found):
                planned.add(key)
        return rows

    def _put(self, rows: ToDo, send: list[EarnedBadge], badge: EarnedBadge, found: _Found) -> bool:
        """Put a row into its list; give whether there is still something to do with it."""
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
            send.append(badge)
        elif plan is Plan.SETTLE and held is not None:
            rows.settle.append((badge, held))
        else:
            rows.done.append((badge, plan))
            return False
        return True

    # -- doubts ------------------------------------------------------------------------------------------------------

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
        """Forget the doubts of rows that have reached their end."""
        for number in row_numbers:
            self._doubts.pop(number, None)

    # -- rows that end without a request -----------------------------------------------------------------------------

    def end_done(self, rows: ToDo, origins: Sequence[Window]) -> None:
        """End the rows of a window that need no request."""
        if rows.already:
            self._account.count(RowState.ALREADY_ACCEPTED, rows.already)
        self.end(rows.done, origins)

    def end(self, done: Sequence[tuple[EarnedBadge, Plan]], origins: Sequence[Window]) -> None:
        """End rows that need no request, because of what the ledger holds."""
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
                if plan in (Plan.REJECTED, Plan.REVOKED):
                    self._account.explain("plan", None, plan.value)
        self.record(busy)
        self.record(in_doubt, keep_earlier=True)
        self.forget_doubts(doubts)

    def end_unsent(self, batch: Batch, why: str) -> None:
        """End rows as not sent, because the job stopped first."""
        self.record([issue_of(badge, batch.origins, RowState.NOT_SENT, "send", why) for badge in batch.badges])
        self.forget_doubts(batch.badges.row_numbers)

    def record(self, issues: Sequence[RowIssue], *, keep_earlier: bool = False) -> None:
        """Commit the issues of rows that end with one, and count them."""
        if issues:
            self._ledger.record(Issues(issues, keep_earlier))
            self._account.close_rows(issues)
