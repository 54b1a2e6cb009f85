"""A ledger that is restored from a backup, and one that moves from a file to a server, between two nights.

What Airflow remembers is kept in memory here, outside the ledger, as a metadata database on another server would.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_capillary.exceptions import WrongLedgerError
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
from airflow_provider_capillary.ledger.copying import copy_ledger, move_ledger
from airflow_provider_capillary.ledger.ledger import Ledger
from tests.integration.jobs.test_ledger_witness import Memory

if TYPE_CHECKING:
    from tests.integration.jobs.conftest import Trial


@pytest.fixture
def places(postgres_server: Any) -> Any:
    """Gives empty databases on the PostgreSQL server."""
    return lambda: postgres_server.uri_of(postgres_server.create_database())


def night(trial: Trial, memory: Memory, number: int, rows: int = 4) -> Any:
    """One night's import over the rows of all nights so far."""
    with closing(Ledger(trial.ledger_url)) as ledger:
        witness = LedgerWitness(memory, ledger, "org", clock=trial.clock.now, monotonic=trial.clock.now)
        return trial.run(trial.rows(rows * number), run_id=f"night-{number}", witness=witness)


def test_a_ledger_restored_from_a_backup_is_refused_until_a_person_says_so(trial: Trial, places: Any) -> None:
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


def test_a_file_that_moves_to_postgresql_between_two_nights_grants_nothing_twice(trial: Trial, places: Any) -> None:
    memory, file, server = Memory(), trial.ledger_url, places()
    night(trial, memory, 1)
    with closing(Ledger(file)) as ledger:
        move_ledger(ledger, server)
    with pytest.raises(WrongLedgerError, match="is sealed"):
        night(trial, memory, 2)
    trial.ledger_url = server
    assert trial.ends(night(trial, memory, 2)) == {"already_accepted": 4, "accepted": 4}
    assert trial.times_granted() == [1]
