"""Two Airflows, each with a database of its own, import with one ledger."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ..conftest import AirflowProcess
from .airflow_on_server import DRILLED
from .conftest import Drill

pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


def by_the_other(airflow: AirflowProcess, drill: Drill, dataset: str, ledger: str) -> Any:
    """Import the rows with the other Airflow."""
    ended = airflow.run(DRILLED, "drilled", dict(drill.env), run_conf={"dataset": dataset, "ledger": ledger})
    assert "keeps no witness" not in ended.log
    return ended


def test_two_airflows_notice_an_older_or_new_ledger(drill: Drill, airflow_process: AirflowProcess) -> None:
    shared, restored, backup = drill.add_ledger("shared"), drill.add_ledger("restored"), drill.folder / "backup.db"
    drill.imported(drill.dataset(10), shared)
    in_turn = by_the_other(airflow_process, drill, drill.dataset(20), shared)
    assert (in_turn.tasks, in_turn.tries) == ({"import_badges": ["success"]}, {"import_badges": [1]})
    drill.command("ledger", "backup", str(backup), "--ledger-conn-id", shared)

    at_once = [drill.begun(drill.dataset(15, first), shared) for first in (21, 36)]
    beside = by_the_other(airflow_process, drill, drill.dataset(10, 51), shared)
    assert beside.tasks == {"import_badges": ["success"]}, beside.log[-5_000:]
    for running in at_once:
        drill.succeeded(running)
    drill.imported(drill.dataset(60), shared)
    assert len(drill.witness.read().jobs) == 6  # those of the other Airflow too
    assert drill.grants() == Counter(range(1, 61))

    new = drill.add_ledger("new")
    drill.command("ledger", "copy", str(backup), restored)
    for ledger, words in ((new, "is new and empty"), (restored, "is an older state of the right ledger")):
        assert words in drill.refused(drill.dataset(60), ledger)
        refused = by_the_other(airflow_process, drill, drill.dataset(60), ledger)
        assert (refused.tasks, refused.tries) == ({"import_badges": ["failed"]}, {"import_badges": [1]})
        assert words in refused.log
    drill.command("ledger", "accept", "--organisation", drill.organisation, "--ledger-conn-id", restored, "--yes")
    drill.imported(drill.dataset(20), restored)
    still = by_the_other(airflow_process, drill, drill.dataset(20), restored)  # it was not asked
    assert still.tasks == {"import_badges": ["failed"]}
    assert drill.grants() == Counter(range(1, 61))
