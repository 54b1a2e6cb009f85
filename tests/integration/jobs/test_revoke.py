"""What an import granted, taken back: how much, from whom, and what is noted."""

from __future__ import annotations

from .revoking import BY, active, asked, notes, revoke
from .trial import Trial


def test_a_dry_run_counts_badges_and_changes_nothing(trial: Trial) -> None:
    other = "5eed0000bad9e00000000002"
    first = trial.run([*trial.rows(8), *trial.rows(4, first=50, badgeMetaId=other)])
    result = revoke(trial, first, dry_run=True)
    assert (result.dry_run, result.to_revoke, result.revoked) == (True, 12, 0)
    assert result.badges == {trial.badge: 8, other: 4}
    assert (active(trial), asked(trial), trial.states(), notes(trial)) == (12, 0, {"accepted": 12}, [])


def test_every_badge_of_this_job_alone_is_revoked(trial: Trial) -> None:
    first = trial.run(trial.rows(12))
    trial.run(trial.rows(16), run_id="night-2")
    result = revoke(trial, first)
    assert (result.to_revoke, result.revoked, result.error) == (12, 12, None)
    assert trial.states() == {"accepted": 4, "revoked": 12}
    left = [grant.customer_id for grant in trial.simulator.store.grants() if grant.is_active]
    assert sorted(left) == [trial.first_customer + number for number in range(12, 16)]
    assert notes(trial) == [("revoked", 12)]
    assert trial.ask_ledger("SELECT DISTINCT asked_by FROM capillary_revocation") == [(BY,)]
    assert trial.summary_of(first)["revoked"] == 12
    assert trial.summary_of(first)["accepted"] == 12  # of how the import ended


def test_a_second_run_takes_back_nothing(trial: Trial) -> None:
    first = trial.run(trial.rows(12))
    revoke(trial, first)
    again = revoke(trial, first)
    assert (again.to_revoke, again.revoked, again.already_revoked) == (0, 0, 12)
    assert asked(trial) == 12
    assert trial.summary_of(first)["revoked"] == 12


def test_many_jobs_are_undone_together(trial: Trial) -> None:
    first, second = trial.run(trial.rows(4)), trial.run(trial.rows(8), run_id="night-2")
    result = revoke(trial, first, second)
    assert (result.jobs, result.revoked) == (2, 8)
    assert active(trial) == 0


def test_accepted_rows_without_id_are_reported(trial: Trial) -> None:
    trial.start(earns_detail=False)
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    first = trial.run(trial.rows(12))
    assert trial.states() == {"accepted": 12}
    result = revoke(trial, first)
    assert (result.revoked, result.without_id) == (8, 4)
    assert trial.states() == {"accepted": 4, "revoked": 8}


def test_unknown_rows_are_reported_and_stay(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    first = trial.run(trial.rows(12), on_unknown="hold")
    result = revoke(trial, first)
    assert (result.revoked, result.unknown) == (8, 4)
    assert trial.states() == {"unknown": 4, "revoked": 8}


def test_rows_with_a_misread_expiry_are_revoked_too(trial: Trial) -> None:
    trial.faults({"kind": "echo", "field": "thousandfold", "numbers": [1]})
    first = trial.run(trial.rows(4), on_unknown="hold")
    assert trial.states() == {"unknown": 4}
    result = revoke(trial, first)
    assert (result.revoked, result.unknown) == (4, 0)
    assert trial.states() == {"revoked": 4}
    assert active(trial) == 0
    assert [state for _, state, *_ in trial.issues_of(first)] == ["accepted"] * 4
    summary = trial.summary_of(first)
    assert (summary["accepted"], summary["unknown"], summary["revoked"]) == (4, 0, 4)


def test_an_id_unknown_to_the_api_proves_nothing(trial: Trial) -> None:
    trial.faults({"kind": "echo", "field": "thousandfold", "numbers": [1]})
    first = trial.run(trial.rows(1), on_unknown="hold")
    trial.simulator.store.clear()
    result = revoke(trial, first)
    assert (result.revoked, result.not_active) == (0, 1)
    assert trial.states() == {"unknown": 1}


def test_a_badge_revoked_elsewhere_is_noted(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    grant = next(iter(trial.simulator.store.grants()))
    trial.simulator.store.revoke(grant.customer_id, grant.badge_meta_id, grant.earned_badge_id)
    result = revoke(trial, first)
    assert (result.revoked, result.not_active, result.error) == (3, 1, None)
    assert notes(trial) == [("not_active", 1), ("revoked", 3)]
    assert trial.states() == {"revoked": 4}
