"""The line in the log that says how far a job is. That of an import is tried in the unit tests of its progress."""

from __future__ import annotations

import pytest

from tests.integration.jobs.reconciling import LOST_AFTER, held, reconcile
from tests.integration.jobs.revoking import revoke

from .trial import Trial

SLOW = 20  # requests a minute: one in three seconds, so a line after every fourth


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if "rows/s" in record.getMessage()]
    caplog.clear()
    return found


def test_reconciliation_and_revocation_log_progress(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    unknown = held(trial, LOST_AFTER, rows=trial.rows(12, first=100), run_id="held")
    trial.clock.advance(3_600)
    caplog.clear()
    reconcile(trial, unknown, per_minute=SLOW)
    assert lines(caplog) == [
        "5 of 12 rows (42%), 0 rows/s, about 17 s left",
        "9 of 12 rows (75%), 0 rows/s, about 8 s left",
    ]
    revoke(trial, unknown, per_minute=SLOW)
    assert lines(caplog) == [
        "4 of 12 rows (33%), 0 rows/s, about 24 s left",
        "8 of 12 rows (67%), 0 rows/s, about 12 s left",
        "12 of 12 rows (100%), 0 rows/s",
    ]
