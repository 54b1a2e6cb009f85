"""What later imports make of revoked rows: they grant none again, unless the rows were set free for that."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.jobs.account import Account
from airflow_provider_capillary.jobs.planner import Planner
from airflow_provider_capillary.jobs.settings import import_settings
from airflow_provider_capillary.ledger.facts import JobPlan, JobScope
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.writer import LedgerWriter

from .reconciling import reconcile
from .revoking import BY, active, asked, revoke
from .trial import Trial

EXPIRES_LATER = 1_950_000_000
LATER = pytest.mark.parametrize("again", [{"run_id": "night-2"}, {"max_tries": 2}, {}], ids=["run", "clear", "retry"])


@LATER
def test_a_later_import_regrants_nothing_revoked(trial: Trial, again: dict[str, Any]) -> None:
    rows = trial.rows(12)
    first = trial.run(rows)
    revoke(trial, first)
    calls = trial.calls()
    result = trial.run([*rows], **again)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 12})
    assert [(one.message, one.rows) for one in result.summary.reasons] == [("revoked, not sent", 12)]
    assert (trial.calls(), active(trial)) == (calls, 0)


@LATER
def test_once_per_customer_regrants_nothing_revoked(trial: Trial, again: dict[str, Any]) -> None:
    rows = trial.rows(4)
    first = trial.run(rows, once_per_customer=True)
    revoke(trial, first)
    if again:
        rows = [{**row, "earnEventDate": row["earnEventDate"] + 86_400} for row in rows]
    result = trial.run(rows, once_per_customer=True, **again)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 4})
    assert [(one.message, one.rows) for one in result.summary.reasons] == [("revoked, not sent", 4)]
    assert active(trial) == 0


@pytest.mark.parametrize("settings", [{}, {"once_per_customer": True}], ids=["plain", "once per customer"])
def test_a_grant_revoked_during_an_import_stays_revoked(trial: Trial, settings: dict[str, Any]) -> None:
    apart = 86_400 if settings else 0  # another instant is another badge, but where a customer may have one only
    rows = trial.rows(4)
    others = [{**row, "earnEventDate": row["earnEventDate"] + apart} for row in rows]

    def another_job_is_undone() -> None:
        revoke(trial, trial.run(others, run_id="undone", **settings))

    trial.moments.at("intent", another_job_is_undone)
    result = trial.run(rows, **settings)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 4})
    assert (len(trial.simulator.store), active(trial)) == (4, 0)


@LATER
def test_repeats_of_a_revoked_row_end_like_it(trial: Trial, again: dict[str, Any]) -> None:
    rows = trial.rows(3)
    rows = [*rows, rows[0], {**rows[1], "customerId": "x"}]
    first = trial.run(rows, max_rejected="100%")
    revoke(trial, first)
    result = trial.run(rows, max_rejected="100%", **again)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 4, "invalid": 1})


def test_a_repeat_of_a_row_revoked_meanwhile_counts(trial: Trial) -> None:
    """As at the end of an import whose rows another process has revoked since they were planned."""
    revoke(trial, trial.run(trial.rows(1)))
    repeat = EarnedBadge(2, trial.badge, trial.first_customer, trial.first_earned, EXPIRES_LATER)
    scope, plan = JobScope("sync", "import", "night-2"), JobPlan("org", "host", "dataset", 2, {})
    with closing(Ledger(trial.ledger_url, clock=trial.clock.now)) as ledger:
        job = ledger.open_job(scope, plan)
        with closing(LedgerWriter(ledger, job, heartbeat_seconds=60)) as writer:
            planner, account = Planner(writer, job.key, import_settings(), Account()), Account()
            planner.repeats.note(repeat)
            states = planner.states_of_equals([repeat])
            window = next(open_dataset(trial.rows(2)).windows(10))
            assert planner.repeats.end_as_equals(window, [repeat], lambda _: states, account) == []
    assert account.tally.rows == {RowState.ALREADY_ACCEPTED: 1}


def test_a_revoked_earn_proves_no_equal_row(trial: Trial) -> None:
    """The API goes on showing what was revoked, at the same instant."""
    first = trial.run(trial.rows(1), on_duplicate="allow")
    revoke(trial, first)
    trial.faults({"kind": "drop", "at": "after_reading"})
    second = trial.run(trial.rows(1) * 2, run_id="night-2", on_duplicate="allow", on_unknown="hold")
    trial.faults()
    assert trial.ends(second) == {"already_accepted": 1, "unknown": 1}
    result = reconcile(trial, second)
    assert (result.accepted, result.unknown) == (0, 1)


def test_a_revoked_earn_proves_nothing_when_reading_back(trial: Trial) -> None:
    first = trial.run(trial.rows(1), on_duplicate="allow")
    revoke(trial, first)
    trial.faults({"kind": "drop", "at": "after_reading", "times": 1})
    second = trial.run(trial.rows(1) * 2, run_id="night-2", on_duplicate="allow")
    assert trial.ends(second) == {"already_accepted": 1, "unknown": 1}


# -- revoked, and to be imported again ---------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"once_per_customer": True}], ids=["plain", "once per customer"])
@LATER
def test_freed_rows_are_granted_once(trial: Trial, again: dict[str, Any], settings: dict[str, Any]) -> None:
    rows = trial.rows(8)
    first = trial.run(rows, **settings)
    result = revoke(trial, first, import_again=True)
    assert (result.revoked, result.free) == (8, 8)
    if again:
        rows = [{**row, "earnExpiresOn": EXPIRES_LATER} for row in rows]
    later = trial.run(rows, **settings, **again)
    assert (later.error, trial.ends(later)) == (None, {"accepted": 8})
    once_more = trial.run(rows, run_id="night-3", **settings)
    assert trial.ends(once_more) == {"already_accepted": 8}
    assert active(trial) == 8
    assert trial.states() == {"accepted": 8, "revoked": 8}


def test_earlier_revoked_rows_are_freed_without_requests(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    revoke(trial, first)
    result = revoke(trial, first, import_again=True)
    assert (result.to_revoke, result.free, asked(trial)) == (0, 4, 4)
    assert trial.ask_ledger("SELECT DISTINCT freed_by FROM capillary_revocation") == [(BY,)]
    assert revoke(trial, first, import_again=True).free == 0


def test_a_dry_run_sets_nothing_free(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    revoke(trial, first)
    assert revoke(trial, first, dry_run=True, import_again=True).free == 0
    assert trial.ends(trial.run(trial.rows(4), run_id="night-2")) == {"already_accepted": 4}


def test_only_revoked_rows_are_freed(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    trial.faults({"kind": "status", "status": 400, "code": 1026, "operation": "revoke", "numbers": [2]})
    result = revoke(trial, first, import_again=True)
    assert (result.revoked, result.refused, result.free) == (3, 1, 3)
    later = trial.run(trial.rows(4), run_id="night-2")
    assert trial.ends(later) == {"already_accepted": 1, "accepted": 3}


def test_a_row_is_revoked_and_granted_repeatedly(trial: Trial) -> None:
    for number in range(3):
        result = trial.run(trial.rows(2) * 2, run_id=f"night-{number}", on_duplicate="allow")
        assert trial.ends(result) == {"accepted": 4}
        assert revoke(trial, result, import_again=True).free == 4
    assert (active(trial), trial.states()) == (0, {"revoked": 12})


@pytest.mark.parametrize("at", ["after_reading", "after_applying"])
def test_a_lost_second_grant_is_not_settled_by_the_first(trial: Trial, at: str) -> None:
    first = trial.run(trial.rows(4))
    revoke(trial, first, import_again=True)
    trial.faults({"kind": "drop", "at": at, "times": 1})
    later = trial.run(trial.rows(4), run_id="night-2")
    assert trial.ends(later) == {"unknown": 4}  # the API shows an earn at that instant, and it may be the old one
    assert reconcile(trial, later).unknown == 4
    assert trial.states() == {"revoked": 4, "unknown": 4}


def test_a_repeat_of_a_freed_row_ends_like_it(trial: Trial) -> None:
    rows = trial.rows(3)
    rows = [*rows, rows[0]]
    first = trial.run(rows, once_per_customer=True)
    assert trial.ends(first) == {"accepted": 3, "already_accepted": 1}
    revoke(trial, first, import_again=True)
    again = trial.run(rows, once_per_customer=True)
    assert trial.ends(again) == {"accepted": 3, "already_accepted": 1}
    assert active(trial) == 3
