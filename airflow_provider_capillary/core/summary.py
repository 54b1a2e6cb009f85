"""The summary of a job: how many rows ended in each state, and why. The counts must add up to the rows read."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from airflow_provider_capillary.core.general_text import general
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import CapillaryError

#: The states in which a row read may end, in the order of the summary.
FINAL_STATES = (
    RowState.ACCEPTED,
    RowState.ALREADY_ACCEPTED,
    RowState.REJECTED,
    RowState.INVALID,
    RowState.UNKNOWN,
    RowState.NOT_SENT,
)
TOP_REASONS = 10


class Reason(msgspec.Struct, frozen=True):
    """Why rows were not accepted: stage, the API's code where there is one, a message, how many rows."""

    stage: str
    code: int | None
    message: str
    rows: int


class Summary(msgspec.Struct, frozen=True):
    """The account of one job, small enough for XCom. Times are ISO 8601, UTC."""

    job_id: str
    rows_read: int
    accepted: int
    already_accepted: int
    rejected: int
    invalid: int
    unknown: int
    not_sent: int
    requests: int
    batches: int
    started_at: str
    finished_at: str
    reasons: tuple[Reason, ...]
    ledger: str  #: where the account is kept, without credentials
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse counts that do not add up.

        :raises UnaccountedRowsError: the six counts differ from ``rows_read``.
        """
        accounted = sum(getattr(self, state.value) for state in FINAL_STATES)
        if accounted != self.rows_read:
            raise UnaccountedRowsError(f"rows_read={self.rows_read}, but {accounted} rows are accounted for")

    @property
    def is_complete(self) -> bool:
        """Whether the organisation has every badge of the dataset."""
        return self.accepted + self.already_accepted == self.rows_read

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON-ready values; a list instead of a tuple, because XCom wraps tuples in a dict."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain | {"reasons": list(plain["reasons"])}


class UnaccountedRowsError(CapillaryError):
    """A defect of this package: a row ended in no state, or in two."""


class Tally:
    """Counts rows by where they ended, and why. Not thread-safe: the caller guards it."""

    def __init__(self) -> None:
        self.rows: Counter[RowState] = Counter()
        self._reasons: Counter[tuple[str, int | None, str]] = Counter()

    def add(self, state: RowState, rows: int = 1) -> None:
        """Count rows whose reason need not be counted, or is counted by ``explain``."""
        self.rows[state] += rows

    def explain(self, stage: str, code: int | None, message: str, rows: int = 1) -> None:
        """Count a reason with its values masked, because a row's values must not reach XCom or a log."""
        self._reasons[(stage, code, general(message))] += rows

    def total(self) -> int:
        """All rows counted so far."""
        return sum(self.rows.values())

    def reasons(self) -> tuple[Reason, ...]:
        """The most frequent reasons, most frequent first, ties in a fixed order."""
        ranked = sorted(self._reasons.items(), key=lambda pair: (-pair[1], str(pair[0])))
        return tuple(Reason(*key, rows) for key, rows in ranked[:TOP_REASONS])
