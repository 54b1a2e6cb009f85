"""Sorts rows by what the ledger already holds of them: to send, to settle, or at their end without being sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held, Plan, doubt_of, plan_once, plan_row
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.importing.doubtful import Doubtful
from airflow_provider_capillary.importing.settings import ImportSettings, OnDuplicate
from airflow_provider_capillary.importing.waiting import WaitingRows
from airflow_provider_capillary.ledger.occurrences import OccurrenceCounter
from airflow_provider_capillary.ledger.writer import LedgerWriter

_BEST_FIRST = (RowState.ACCEPTED, RowState.UNKNOWN, RowState.REJECTED)


class Sorted(msgspec.Struct):
    """Rows by what to do with them, each list in dataset order."""

    send: list[EarnedBadge]
    settle: list[tuple[EarnedBadge, Held]]
    done: list[tuple[EarnedBadge, Plan]]
    unseen: bool = False  #: what the ledger holds of the rows to send was not looked up


class Planner:
    """Asks the ledger about rows, many at a time, and remembers those that wait for their intent.

    Where the ledger knew nothing of a window's rows, the next window is not looked up: an intent for rows that nobody
    looked up meets a conflict with whatever the ledger holds of them. Such a batch is sorted again, by ``sort_again``,
    and from then on windows are looked up again.
    """

    def __init__(
        self, find: Callable[..., dict[tuple[int, str], list[Held]]], job: int, settings: ImportSettings
    ) -> None:
        self._find = find
        self._job = job
        self._once = settings.once_per_customer
        self.doubtful = Doubtful()  #: rows that were found in doubt, until they are at their end
        self._waiting = WaitingRows(any_date=self._once)
        self._must_look = settings.on_duplicate is not OnDuplicate.SKIP or settings.dry_run or self._once
        self._all_new = False  #: the rows that were looked up last, or expected to be
        counts_on_disk = settings.on_duplicate is not OnDuplicate.SKIP or settings.dry_run
        self._counter = OccurrenceCounter(any_date=self._once) if counts_on_disk else None
        self._numbers_occurrences = settings.on_duplicate is OnDuplicate.ALLOW and not self._once

    @classmethod
    def on(cls, ledger: LedgerWriter, job: int, settings: ImportSettings) -> Planner:
        """A planner that asks through the ledger's thread."""
        return cls(ledger.find, job, settings)

    def sort_new(self, badges: Sequence[EarnedBadge]) -> Sorted:
        """Sort rows that were just read; those to send wait from now on for their intent."""
        repeated: set[int] = set()
        if self._counter is not None:
            badges, repeated = self._counted(badges, self._counter)
        unseen = self._all_new and not self._must_look
        # asked before the ledger is: a row that waits no more is there
        repeated |= self._waiting.repeated_by(badges)
        found = {} if unseen else self._find(badges, any_date=self._once)
        if not unseen:
            self._all_new = not found
        if found or repeated or self._waiting.any_equal(badges):
            sorted_rows = self._sorted(badges, repeated, found)
        else:
            sorted_rows = Sorted(list(badges), [], [])  # as nearly always: rows that nobody ever heard of
        sorted_rows.unseen = unseen
        self._waiting.add(sorted_rows.send)
        self._waiting.add([badge for badge, _ in sorted_rows.settle])
        return sorted_rows

    def preview(self, badges: Sequence[EarnedBadge]) -> Sorted:
        """Sort rows that were just read and are not sent by this pass, so that none of them is kept in memory.

        What repeats an earlier row is found by the counts on disk.
        """
        sorted_rows = self.sort_new(badges)
        left = [*sorted_rows.send, *(badge for badge, _ in sorted_rows.settle)]
        self.release(left)
        self.doubtful.forget(badge.row_number for badge in left)
        return sorted_rows

    def _sorted(
        self, badges: Sequence[EarnedBadge], repeated: set[int], found: dict[tuple[int, str], list[Held]]
    ) -> Sorted:
        sorted_rows = Sorted([], [], [])
        taken: set[tuple[object, ...]] = set()
        for badge in badges:
            key = self._waiting.key(badge)
            if badge.row_number in repeated or key in taken:
                sorted_rows.done.append((badge, Plan.DUPLICATE))
            elif self._put(sorted_rows, badge, found):
                taken.add(key)
        return sorted_rows

    def sort_again(self, badges: Sequence[EarnedBadge]) -> Sorted:
        """Sort rows that were to be sent, but the ledger holds some of them already."""
        self._all_new = False
        found = self._find(badges, any_date=self._once)
        sorted_rows = Sorted([], [], [])
        for badge in badges:
            self._put(sorted_rows, badge, found)
        return sorted_rows

    def others_at_instant(self, badges: Sequence[EarnedBadge]) -> dict[int, int]:
        """For each row number: how many other rows claim the same customer, badge and instant."""
        found = self._find(badges)
        # the API goes on showing what was revoked
        claiming = (RowState.ACCEPTED, RowState.UNKNOWN, RowState.INTENT, RowState.REVOKED)
        return {
            badge.row_number: sum(
                held.state in claiming and held.occurrence != badge.occurrence for held in _same_instant(found, badge)
            )
            for badge in badges
        }

    def states_of_equals(self, badges: Sequence[EarnedBadge]) -> dict[int, RowState]:
        """For each row number: where the ledger's row of that identity stands; of several, the best."""
        found = self._find(badges, any_date=self._once)
        states: dict[int, RowState] = {}
        for badge in badges:
            equal = (
                found.get((badge.customer_id, badge.badge_meta_id), ()) if self._once else _same_instant(found, badge)
            )
            held = {each.state for each in equal}
            best = next((state for state in _BEST_FIRST if state in held), None)
            if best is not None:
                states[badge.row_number] = best
        return states

    def release(self, badges: Sequence[EarnedBadge]) -> None:
        """These rows are in the ledger now, or at their end."""
        self._waiting.remove(badges)

    def close(self) -> None:
        """Give up the counts on disk, if there are any."""
        if self._counter is not None:
            self._counter.close()

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

    def _put(self, sorted_rows: Sorted, badge: EarnedBadge, found: dict[tuple[int, str], list[Held]]) -> bool:
        """Put a row where it belongs; say whether it is still to be worked on."""
        held = self._held_of(badge, found)
        every = found.get((badge.customer_id, badge.badge_meta_id), [])
        doubt = doubt_of(every, earned_at=badge.earned_at, occurrence=badge.occurrence, once=self._once)
        if doubt is not None:
            self.doubtful.note(badge, doubt)
        if self._once:
            plan = plan_once(every, job=self._job, row_number=badge.row_number, earned_at=badge.earned_at)
        else:
            plan = plan_row(held, job=self._job, row_number=badge.row_number)
        if plan is Plan.SEND:
            sorted_rows.send.append(badge)
        elif plan is Plan.SETTLE and held is not None:
            sorted_rows.settle.append((badge, held))
        else:
            sorted_rows.done.append((badge, plan))
            return False
        return True

    @staticmethod
    def _held_of(badge: EarnedBadge, found: dict[tuple[int, str], list[Held]]) -> Held | None:
        return next((held for held in _same_instant(found, badge) if held.occurrence == badge.occurrence), None)


def _same_instant(found: dict[tuple[int, str], list[Held]], badge: EarnedBadge) -> Iterable[Held]:
    every = found.get((badge.customer_id, badge.badge_meta_id), ())
    return (held for held in every if held.earned_at == badge.earned_at)
