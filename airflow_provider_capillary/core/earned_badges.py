"""Many earned badges, column by column: on the good path no row is an object of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, repeat
from operator import itemgetter
from typing import Any, overload

from airflow_provider_capillary.core.earned_badge import EarnedBadge


class EarnedBadges(Sequence[EarnedBadge]):
    """Earned badges in order. Reads as a sequence of ``EarnedBadge``, each made when it is asked for.

    The columns are lists of equal length and are not changed once they are here; ``occurrences`` is ``None`` where
    each is 1. A million objects cost a third of a second to make, and as much again wherever their fields are
    gathered; columns are encoded, compared and stored as they are.
    """

    __slots__ = ("badge_meta_ids", "customer_ids", "earned_at", "expires_at", "occurrences", "row_numbers")

    def __init__(
        self,
        row_numbers: list[int],
        badge_meta_ids: list[str],
        customer_ids: list[int],
        earned_at: list[int],
        expires_at: list[int],
        occurrences: list[int] | None = None,
    ) -> None:
        self.row_numbers = row_numbers
        self.badge_meta_ids = badge_meta_ids
        self.customer_ids = customer_ids
        self.earned_at = earned_at
        self.expires_at = expires_at
        self.occurrences = occurrences

    @classmethod
    def of(cls, badges: Iterable[EarnedBadge]) -> EarnedBadges:
        """Give the same badges as columns; those that are columns already, as they are."""
        if isinstance(badges, EarnedBadges):
            return badges
        rows = list(badges)
        occurrences = [row.occurrence for row in rows]
        return cls(
            [row.row_number for row in rows],
            [row.badge_meta_id for row in rows],
            [row.customer_id for row in rows],
            [row.earned_at for row in rows],
            [row.expires_at for row in rows],
            None if occurrences.count(1) == len(rows) else occurrences,
        )

    @classmethod
    def joined(cls, parts: Sequence[EarnedBadges]) -> EarnedBadges:
        """Give the badges of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        whole = cls([], [], [], [], [])
        if any(part.occurrences for part in parts):
            whole.occurrences = [each for part in parts for each in part.occurrences or repeat(1, len(part))]
        for part in parts:
            whole.row_numbers += part.row_numbers
            whole.badge_meta_ids += part.badge_meta_ids
            whole.customer_ids += part.customer_ids
            whole.earned_at += part.earned_at
            whole.expires_at += part.expires_at
        return whole

    def take(self, positions: Sequence[int]) -> EarnedBadges:
        """Give the badges at these positions, in the order of the positions."""
        if not positions:
            return EarnedBadges([], [], [], [], [])
        if len(positions) == 1:
            return self[positions[0] : positions[0] + 1]
        pick = itemgetter(*positions)
        return self._picked(lambda column: list(pick(column)))

    def where(self, chosen: Sequence[bool]) -> EarnedBadges:
        """Give the badges for which ``chosen``, one for each, is true."""
        return self._picked(lambda column: list(compress(column, chosen)))

    def numbered(self, occurrences: list[int]) -> EarnedBadges:
        """Give the same badges with these occurrence numbers."""
        one_each = occurrences.count(1) == len(occurrences)
        return EarnedBadges(
            self.row_numbers,
            self.badge_meta_ids,
            self.customer_ids,
            self.earned_at,
            self.expires_at,
            None if one_each else occurrences,
        )

    def _picked(self, pick: Callable[[list[Any]], list[Any]]) -> EarnedBadges:
        return EarnedBadges(
            pick(self.row_numbers),
            pick(self.badge_meta_ids),
            pick(self.customer_ids),
            pick(self.earned_at),
            pick(self.expires_at),
            None if self.occurrences is None else pick(self.occurrences),
        )

    def __len__(self) -> int:
        return len(self.row_numbers)

    def __iter__(self) -> Iterator[EarnedBadge]:
        return map(
            EarnedBadge,
            self.row_numbers,
            self.badge_meta_ids,
            self.customer_ids,
            self.earned_at,
            self.expires_at,
            self.occurrences or repeat(1),
        )

    @overload
    def __getitem__(self, index: int) -> EarnedBadge: ...

    @overload
    def __getitem__(self, index: slice) -> EarnedBadges: ...

    def __getitem__(self, index: int | slice) -> EarnedBadge | EarnedBadges:
        if isinstance(index, slice):
            return self._picked(lambda column: column[index])
        return EarnedBadge(
            self.row_numbers[index],
            self.badge_meta_ids[index],
            self.customer_ids[index],
            self.earned_at[index],
            self.expires_at[index],
            1 if self.occurrences is None else self.occurrences[index],
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(EarnedBadge.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"EarnedBadges({list(self)!r})"
