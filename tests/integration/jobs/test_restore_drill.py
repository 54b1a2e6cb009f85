"""A ledger that is restored from a backup, and one that moves from a file to a server, between two nights.

What Airflow remembers is kept in memory here, outside the ledger, as a metadata database on another server would.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from airflow_provider_capillary.core.seeding import seed_choices
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import WrongLedgerError
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
from airflow_provider_capillary.jobs.seed import Seeded, SeedJob, seed_settings
from airflow_provider_capillary.ledger.copying import copy_ledger, move_ledger
from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.ledger.ledger import Ledger
from tests.integration.jobs.moments import Memory

from .trial import Trial


@pytest.fixture
def places(postgres_server: Any) -> Any:
    """Gives empty databases on the PostgreSQL server."""
    return lambda: postgres_server.uri_of(postgres_server.create_database())


def night(trial: Trial, memory: Memory, number: int, rows: int = 4) -> Any:
    """One night's import over the rows of all nights so far."""
    with closing(Ledger(trial.ledger_url)) as ledger:
        witness = LedgerWitness(memory, ledger, "org", clock=trial.clock.now, monotonic=trial.clock.now)
        return trial.run(trial.rows(rows * number), run_id=f"night-{number}", witness=witness)


def export(trial: Trial) -> list[dict[str, Any]]:
    """What the API holds, as an export of it has it."""
    return [
        {"badgeMetaId": one.badge_meta_id, "customerId": one.customer_id}
        | {"earnEventDate": int(one.earned_at), "earnId": one.earned_badge_id}
        for one in trial.simulator.store.grants()
    ]


def seed(trial: Trial, memory: Memory, rows: list[dict[str, Any]], **settings: Any) -> Seeded:
    """Note the rows as granted outside the trial's ledger."""
    chosen = seed_settings(**settings)
    with (
        closing(open_dataset(rows, required_columns=seed_choices(None).required)) as dataset,
        closing(Ledger(trial.ledger_url)) as ledger,
    ):
        witness = LedgerWitness(memory, ledger, "org", clock=trial.clock.now, monotonic=trial.clock.now)
        scope = JobScope("dag", "seed", "once")
        return SeedJob(dataset, "org", "", ledger, scope, chosen, by="Ada", witness=witness).run()


@pytest.mark.parametrize("moment", ["intent-done", "sent", "outcome-done"])
def test_a_seeded_restored_ledger_grants_nothing_twice(trial: Trial, places: Any, moment: str) -> None:
    memory, primary, restored = Memory(), places(), places()
    trial.ledger_url = primary
    night(trial, memory, 1, rows=8)
    with closing(Ledger(primary)) as ledger:
        copy_ledger(ledger, f"sqlite:///{trial.folder / 'backup.db'}")
    trial.moments.die(moment, number=2)
    with pytest.raises(trial.killed):
        night(trial, memory, 3, rows=8)
    granted = len(trial.granted())
    assert 8 < granted < 24
    with closing(Ledger(f"sqlite:///{trial.folder / 'backup.db'}")) as backup:
        copy_ledger(backup, restored)
    trial.ledger_url = restored
    with pytest.raises(WrongLedgerError, match="is an older state of the right ledger"):
        night(trial, memory, 3, rows=8)
    seeded = seed(trial, memory, export(trial))
    assert (seeded.seeded, seeded.already_held) == (granted - 8, 8)
    result = night(trial, memory, 3, rows=8)
    assert trial.ends(result) == {"already_accepted": granted, "accepted": 24 - granted}
    assert trial.ends(night(trial, memory, 4, rows=8)) == {"already_accepted": 24, "accepted": 8}
    assert (trial.times_granted(), len(trial.granted())) == ([1], 32)


def test_a_restored_backup_is_refused_for_every_job(trial: Trial, places: Any) -> None:
    memory, primary, restored = Memory(), places(), places()
    trial.ledger_url = primary
    night(trial, memory, 1)
    with closing(Ledger(primary)) as ledger:
        copy_ledger(ledger, f"sqlite:///{trial.folder / 'backup.db'}")
    night(trial, memory, 2)
    with closing(Ledger(f"sqlite:///{trial.folder / 'backup.db'}")) as backup:
        copy_ledger(backup, restored)
    trial.ledger_url = restored
    calls = trial.calls("")
    for number in (2, 3):
        with pytest.raises(WrongLedgerError, match="is an older state of the right ledger"):
            night(trial, memory, number)
    assert trial.calls("") == calls
    trial.ledger_url = primary
    assert trial.ends(night(trial, memory, 3)) == {"already_accepted": 8, "accepted": 4}
    assert trial.times_granted() == [1]


def test_a_move_to_postgresql_grants_nothing_twice(trial: Trial, places: Any) -> None:
    memory, file, server = Memory(), trial.ledger_url, places()
    night(trial, memory, 1)
    with closing(Ledger(file)) as ledger:
        move_ledger(ledger, server)
    with pytest.raises(WrongLedgerError, match="is sealed"):
        night(trial, memory, 2)
    trial.ledger_url = server
    assert trial.ends(night(trial, memory, 2)) == {"already_accepted": 4, "accepted": 4}
    assert trial.times_granted() == [1]
