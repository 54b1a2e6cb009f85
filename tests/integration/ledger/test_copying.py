"""A ledger that is copied to another place keeps its identity and all that it holds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.core.probing import Before, Way
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import ConfigurationError, JobIsRunningError, WrongLedgerError
from airflow_provider_capillary.ledger.copying import copy_ledger, move_ledger
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.ledger import Ledger

from .building import GOLD, badge, begin, bring_to, claim, issue, outcome, states


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to: another file, or an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'copy.db'}"
    server: Any = request.getfixturevalue("postgres_server")
    return str(server.uri_of(server.create_database()))


def filled(ledger: Ledger) -> str:
    """A job with rows in many states; its id."""
    job = begin(ledger)
    bring_to(ledger, job, RowState.ACCEPTED, badge(1), badge(2))
    batch = claim(ledger, job, badge(3), badge(4))
    ledger.record(job, [outcome(batch, RowState.REJECTED, badge(3), badge(4), issues=(issue(3, RowState.REJECTED),))])
    bring_to(ledger, job, RowState.UNKNOWN, badge(5))
    probe = ledger.probes.begin("acme", 7, GOLD, Before(1, ("old",), 5), by="a person")
    ledger.probes.note_grant(probe, 100, Way("PUT", "epoch_seconds"), "r")
    ledger.probes.finish(probe, {"method": "PUT"})
    ledger.finish_job(job, "finished", {"accepted": 2})
    return job.job_id


def test_a_moved_ledger_is_the_same(ledger: Ledger, target: str) -> None:
    job_id = filled(ledger)
    assert move_ledger(ledger, target) > 10
    with closing(Ledger(target)) as new:
        assert new.ledger_id == ledger.ledger_id
        assert new.job(job_id) == ledger.job(job_id)
        assert states(new, job_id) == states(ledger, job_id)
        assert list(new.issues(job_id)) == list(ledger.issues(job_id))
        assert new.probes.open_grants("acme") == ledger.probes.open_grants("acme") != []
        assert new.probes.latest("acme") == ledger.probes.latest("acme")
        probe = new.probes.begin("acme", 7, GOLD, Before(), by="a person")  # numbered on from there
        assert new.probes.note_grant(probe, 101, Way("PUT", "epoch_seconds"), "r") > 1
        assert new.sealed_for is None
        again = begin(new)
        bring_to(new, again, RowState.ACCEPTED, badge(3), badge(6))
        assert states(new)[3] == "accepted"


def test_a_moved_source_is_sealed(ledger: Ledger, target: str) -> None:
    filled(ledger)
    job = begin(ledger, "before")
    ledger.finish_job(job, "failed", None)
    move_ledger(ledger, target)
    assert ledger.sealed_for is not None
    for run in ("next", "before"):
        with pytest.raises(WrongLedgerError, match="is sealed"):
            begin(ledger, run)
    with pytest.raises(WrongLedgerError, match="is sealed"):
        ledger.settlements.take_stock(job.job_id)


def test_a_ledger_moves_to_one_new_place_only(ledger: Ledger, target: str, tmp_path: Path) -> None:
    filled(ledger)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    with closing(Ledger(other)) as used:
        begin(used, "its own")
    with pytest.raises(ConfigurationError, match="holds a ledger with jobs already"):
        move_ledger(ledger, other)
    assert ledger.sealed_for is None
    move_ledger(ledger, target)
    with pytest.raises(ConfigurationError, match="was copied to"):
        move_ledger(ledger, f"sqlite:///{tmp_path / 'third.db'}")


def test_a_running_job_prevents_a_move(ledger: Ledger, target: str) -> None:
    begin(ledger)
    with pytest.raises(JobIsRunningError, match="copy the ledger when it has ended"):
        move_ledger(ledger, target)
    assert ledger.sealed_for is None


def test_a_backup_leaves_the_source_open(ledger: Ledger, target: str, job: Job) -> None:
    claim(ledger, job, badge(1))
    copy_ledger(ledger, target)
    bring_to(ledger, job, RowState.ACCEPTED, badge(2))
    with closing(Ledger(target)) as copy:
        assert (states(copy), copy.ledger_id) == ({1: "intent"}, ledger.ledger_id)
