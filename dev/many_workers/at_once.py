"""Sixteen mapped imports that truly run at once, by LocalExecutor, on one witness; and how often that is written."""

from __future__ import annotations

from collections.abc import Iterable
from configparser import ConfigParser
from contextlib import closing
from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_capillary.ledger.ledger import Ledger
from dev.airflow_home import ORGANISATION
from dev.compose.dag_runs import DagRuns
from dev.many_workers.celery_stack import CeleryStack
from dev.many_workers.night import Night, dag_of
from dev.stack.witness_notes import WitnessNotes, count_writes

NIGHT = "2026-05-04"
SECONDS = 1_800.0
SECONDS_OF_A_REQUEST = 50.0  #: five one after the other: an import lasts longer than sixteen need to begin


class Noted(NamedTuple):
    """What is left to be printed, when all holds."""

    jobs: int
    at_once: int  #: the most imports that ran at the same time
    writes: int  #: of the witness
    allowed: int  #: two for each try, and one for each whole minute of it


class WitnessCheck:
    """Counts writes of the witness from now on, and compares it with the ledger."""

    def __init__(self, stack: CeleryStack) -> None:
        self._stack = stack
        config = ConfigParser(interpolation=None)
        config.read(stack.folder / "airflow" / "airflow.cfg")
        self._metadata = stack.postgres.connect("airflow")
        count_writes(self._metadata)
        self._notes = WitnessNotes(self._metadata, config["core"]["fernet_key"], ORGANISATION)

    def compare(self, tasks: Iterable[dict[str, Any]], job_ids: Iterable[str]) -> Noted:
        """See that each job is noted as the ledger has it, and that the witness was not written too often.

        :param tasks: the imports that ran since the check began, each try of them.
        """
        tries, wanted, writes, witness = list(tasks), set(job_ids), self._notes.writes(), self._notes.read()
        self._metadata.close()
        with closing(Ledger(self._stack.postgres.sqlalchemy_url("ledger").replace("psycopg2", "psycopg"))) as ledger:
            state = ledger.state(witness.jobs)
        assert witness.ledger_id == state.ledger_id
        assert wanted <= set(witness.jobs), wanted - set(witness.jobs)
        ahead = {job: count for job, count in witness.jobs.items() if count > state.commits.get(job, 0)}
        assert not ahead, ahead
        allowed = sum(2 + int(_seconds(one) // 60) for one in tries)
        assert writes <= allowed, (writes, allowed)
        assert writes >= 2 * len(wanted)
        log = self._stack.logs_of_tasks()
        for words in ("keeps no witness", "WrongLedgerError", "WitnessUnavailableError", "could not be noted"):
            assert words not in log, log[log.index(words) - 3_000 :][:6_000]
        return Noted(len(wanted), most_at_once(tries), writes, allowed)


def sixteen_at_once(stack: CeleryStack, parts: int, rows: int) -> Noted:
    """Import so many rows in parts that all run at the same time."""
    stack.simulator.use_faults({"kind": "slow", "seconds": SECONDS_OF_A_REQUEST, "pieces": 2})
    check, dag = WitnessCheck(stack), DagRuns(stack.api, dag_of(parts))
    dag.unpause()
    run_id = dag.start({"rows": rows}, f"{NIGHT}T02:00:00Z")
    assert dag.wait_for_end(run_id, SECONDS) == "success", (dag.states(run_id), stack.reported())
    stack.simulator.use_faults()
    imports = dag.tasks(run_id, "import_badges")
    assert [task["try_number"] for task in imports] == [1] * parts  # none was refused
    night = Night(NIGHT, rows)
    night.take(stack.grants())
    assert (night.missing, night.twice, night.others) == (0, 0, 0)
    noted = check.compare(
        imports, [dag.returned(run_id, "import_badges", part)["job_id"] for part in range(len(imports))]
    )
    assert noted.at_once == parts, noted
    return noted


def most_at_once(tasks: list[dict[str, Any]]) -> int:
    """How many of them ran at the same time, at most."""
    began = [_instant(task, "start_date") for task in tasks]
    ended = [_instant(task, "end_date") for task in tasks]
    return max(sum(other <= moment < end for other, end in zip(began, ended, strict=True)) for moment in began)


def _seconds(task: dict[str, Any]) -> float:
    return (_instant(task, "end_date") - _instant(task, "start_date")).total_seconds()


def _instant(task: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(task[name])
