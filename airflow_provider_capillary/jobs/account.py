"""Counts what became of each row of a job, says why, and decides at the end whether the job is a success.

Nothing is called a success without proof: the counts must add up, and agree with the dataset and the ledger.
"""

from __future__ import annotations

import bisect
import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES, Reason, Summary, Tally, UnaccountedRowsError
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.exceptions import (
    BudgetExceededError,
    CapillaryError,
    ControlMissingError,
    JobIsRunningError,
)
from airflow_provider_capillary.jobs.settings import ImportSettings
from airflow_provider_capillary.ledger.facts import Issues, Job, RowIssue, UnprovenRow
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

LEFT_UNKNOWN = (
    "an earlier try was cut off before the outcome was known, and this one stopped before it read the row back"
)
ELSEWHERE = "accepted, but another job had taken the row over meanwhile: it is in that job's account"


class Account:
    """Thread-safe counts of rows, by the state in which they ended, and of requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tally = Tally()
        self.requests = 0
        self.batches = 0
        self.lacks_control = 0  #: rows that stay unknown because there was no control

    def count(self, state: RowState, rows: int = 1) -> None:
        """Count rows that reached their end."""
        with self._lock:
            self._tally.add(state, rows)

    def explain(self, stage: str, code: int | None, message: str, rows: int = 1) -> None:
        """Count a reason apart from the rows' ends."""
        with self._lock:
            self._tally.explain(stage, code, message, rows)

    def close_rows(self, issues: Sequence[RowIssue]) -> None:
        """Count rows that end with an issue, with their reasons."""
        with self._lock:
            for issue in issues:
                self._tally.add(issue.state)
                self._tally.explain(issue.stage, issue.code, issue.message)

    def request_sent(self) -> None:
        """Count one import request."""
        with self._lock:
            self.requests += 1

    def batch_begun(self) -> None:
        """Count one batch. Only the reading thread calls it."""
        self.batches += 1

    @property
    def tally(self) -> Tally:
        """The counts; read them when all threads are done."""
        return self._tally

    def so_far(self) -> tuple[dict[RowState, int], tuple[Reason, ...]]:
        """Rows by the state in which they ended, and the reasons, at one moment; lanes may go on counting."""
        with self._lock:
            return {state: self._tally.rows[state] for state in FINAL_STATES}, self._tally.reasons()


# -- the issue of a row ----------------------------------------------------------------------------------------------


def issue_of(
    badge: EarnedBadge | InvalidRow,
    origins: Sequence[Window],
    state: RowState,
    stage: str,
    message: str,
    *,
    code: int | None = None,
    request_id: str | None = None,
    attempt: int = 0,
    badge_meta_id: str | None = None,
    **more: Any,
) -> RowIssue:
    """Describe a row, with its place in the dataset and its original columns.

    It never raises, whatever the dataset holds. The outcome of a whole batch is recorded together with its issues, and
    must not be lost because of a value that cannot be shown.

    :param badge_meta_id: the badge of a row that is invalid for another reason.
    :param more: further fields of ``RowIssue``.
    """
    place = place_of(badge, origins)
    return RowIssue(
        row_number=badge.row_number,
        state=state,
        stage=stage,
        message=message,
        source=place.source,
        line=place.line,
        original=place.original,
        code=code,
        request_id=request_id,
        attempt=attempt,
        badge_meta_id=badge.badge_meta_id if isinstance(badge, EarnedBadge) else badge_meta_id,
        **more,
    )


class Place(NamedTuple):
    """A row's place in the dataset, and its columns in a form that JSON can hold."""

    source: str
    line: int
    original: Mapping[str, Any]


def place_of(badge: EarnedBadge | InvalidRow, origins: Sequence[Window]) -> Place:
    """Find a row among the windows; never raises, whatever the dataset holds."""
    try:
        window = origins[bisect.bisect_right(origins, badge.row_number, key=lambda window: window.first_row_number) - 1]
        index = badge.row_number - window.first_row_number
        return Place(window.source, window.line(index), _storable(window.original(index)))
    except Exception as error:  # noqa: BLE001 - a dataset's value may raise anything; the row's outcome matters more
        log.warning("Row %d is reported without its own columns: %s", badge.row_number, type(error).__name__)
        return Place("", 0, _as_sent(badge))


def _storable(original: Mapping[str, Any]) -> Mapping[str, Any]:
    """The columns; a value that JSON cannot hold becomes text."""
    if _fits_json(original):
        return original
    return {_text(name): value if _fits_json(value) else _text(value) for name, value in original.items()}


def _fits_json(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except Exception:  # noqa: BLE001 - an odd value may raise anything
        return False
    return True


def _text(value: Any) -> str:
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - an odd value may raise anything
        return f"<{type(value).__name__}>"


def _as_sent(badge: EarnedBadge | InvalidRow) -> dict[str, Any]:
    return badge.as_columns() if isinstance(badge, EarnedBadge) else {}


# -- the end of a job ------------------------------------------------------------------------------------------------


def summarised(
    account: Account, *, job_id: str, ledger: str, started: float, finished: float, dry_run: bool
) -> Summary:
    """The summary of all counted rows. Times in epoch seconds.

    :raises UnaccountedRowsError: the counts do not add up.
    """
    tally = account.tally
    return Summary(
        job_id=job_id,
        rows_read=tally.total(),
        **{state.value: tally.rows[state] for state in FINAL_STATES},
        requests=account.requests,
        batches=account.batches,
        started_at=_iso(started),
        finished_at=_iso(finished),
        reasons=tally.reasons(),
        ledger=ledger,
        dry_run=dry_run,
    )


def report_unread(ledger: Ledger, job: Job, account: Account, rows_read: int) -> None:
    """Report rows that an earlier try left unknown or rejected, and that this try did not read before it stopped.

    The earlier try may have died before it wrote an issue. The ledger then has what was sent, but not the row's own
    columns.
    """
    for page in ledger.settlements.unproven(job.job_id):
        unreported = [_as_left(row) for row in page if row.badge.row_number > rows_read and row.message is None]
        if unreported:
            ledger.record(job, [Issues(unreported, keep_earlier=True)])
    for issue in ledger.issues(job.job_id):
        if issue.row_number > rows_read and issue.state in (RowState.UNKNOWN, RowState.REJECTED):
            account.explain(issue.stage, issue.code, issue.message)


def _as_left(row: UnprovenRow) -> RowIssue:
    badge = row.badge
    return RowIssue(
        badge.row_number,
        RowState.UNKNOWN,
        "verify",
        LEFT_UNKNOWN,
        "",
        0,
        badge.as_columns(),
        request_id=row.request_id,
        badge_meta_id=badge.badge_meta_id,
    )


def count_unread(account: Account, left: int, in_ledger: Mapping[RowState, int]) -> None:
    """Count the rows that were not read because the job had to end: by their states in the ledger, else as not sent."""
    for state in (RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN):
        known = min(left, max(0, in_ledger.get(state, 0) - account.tally.rows[state]))
        account.count(state, known)
        left -= known
    account.count(RowState.NOT_SENT, left)


def count_late(account: Account, in_ledger: Mapping[RowState, int], accepted_elsewhere: int) -> bool:
    """Correct the counts of a job whose lease had run out, or that took over one whose process lived on.

    Rows that it left unknown may be accepted now, by the reply that the other process got. Rows that its own reply
    accepted may belong to another job now, and are accepted there.

    :return: whether rows that are reported as unknown are accepted now.
    """
    tally = account.tally
    if accepted_elsewhere:
        account.count(RowState.ACCEPTED, -accepted_elsewhere)
        account.count(RowState.ALREADY_ACCEPTED, accepted_elsewhere)
        tally.explain("send", None, ELSEWHERE, accepted_elsewhere)
    late = min(
        in_ledger.get(RowState.ACCEPTED, 0) - tally.rows[RowState.ACCEPTED],
        tally.rows[RowState.UNKNOWN] - in_ledger.get(RowState.UNKNOWN, 0),
    )
    if late > 0:
        account.count(RowState.UNKNOWN, -late)
        account.count(RowState.ACCEPTED, late)
    return late > 0


def compare(summary: Summary, dataset_rows: int, in_ledger: Mapping[RowState, int]) -> None:
    """Compare a summary with the dataset and the ledger.

    :raises UnaccountedRowsError: one of them contradicts it.
    """
    if summary.rows_read != dataset_rows:
        raise UnaccountedRowsError(f"the dataset has {dataset_rows} rows, {summary.rows_read} are accounted for")
    for state in (RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN, RowState.INTENT):
        held, counted = in_ledger.get(state, 0), getattr(summary, state.value, 0)
        # rows of a badge that the organisation lacks are rejected without an identity in the ledger
        if held > counted or (held < counted and state is RowState.ACCEPTED):
            raise UnaccountedRowsError(f"the ledger holds {held} rows as {state.value}, {counted} were counted")


def shortfall(summary: Summary, settings: ImportSettings, lacks_control: int = 0) -> CapillaryError | None:
    """Why the job is no success, or ``None``.

    :param lacks_control: unknown rows that a later try may settle.
    """
    refused = summary.rejected + summary.invalid
    for name, rows, budget in (
        ("refused (rejected or invalid)", refused, settings.max_rejected),
        ("unknown", summary.unknown, settings.max_unknown),
    ):
        if budget.exceeded(rows, summary.rows_read):
            if name == "unknown" and not budget.exceeded(rows - lacks_control, summary.rows_read):
                return no_control(lacks_control, summary.rows_read, budget.text, summary.job_id)
            return BudgetExceededError(f"{rows} of {summary.rows_read} rows are {name}; allowed: {budget.text}")
    if summary.not_sent and not settings.dry_run:
        return JobIsRunningError(
            f"{summary.not_sent} rows were not sent: another job has them, or has left them unknown; "
            "a retry sends them once that job has ended and its unknown rows are settled"
        )
    return None


def no_control(lacking: int, rows: int, allowed: str, job_id: str) -> ControlMissingError:
    """The error for rows that stay unknown because there is no control."""
    return ControlMissingError(
        f"{lacking} of {rows} rows stay unknown; allowed: {allowed}. Reads do not show them. That is believed only "
        "after a read has shown a badge that a reply proves, and this ledger holds none yet. A retry settles the rows "
        "once there is one, from this import or another one of the organisation. Or look the customers up in "
        f"Capillary, and settle the rows: `airflow capillary resolve {job_id} --as accepted|resend`"
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
