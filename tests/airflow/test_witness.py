"""The witness of a ledger in a real Airflow: one Variable, through a task's supervisor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from airflow_provider_capillary.core.earned_badge import organisation_digest
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator

DAGS = Path(__file__).with_name("dags") / "witnessed.py"
ROWS = 32
Run = Callable[..., Any]
pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as started:
        yield started


@pytest.fixture
def run(airflow_process: Any, simulator: RunningSimulator, tmp_path: Path) -> Run:
    """Runs mapped imports of an organisation of this test, on a ledger of this test."""

    def start(dag_id: str, **env: str) -> Any:
        env |= {
            "AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name),
            "AIRFLOW_CONN_WITNESSED_LEDGER": f"sqlite:///{tmp_path / 'ledger.db'}",
        }
        return airflow_process.run(DAGS, dag_id, env)

    return start


def key(tmp_path: Path) -> str:
    return f"capillary_ledger_witness_{organisation_digest(tmp_path.name)}"


def kept(airflow_process: Any, tmp_path: Path) -> Any:
    """The Variable that Airflow's database has, decrypted."""
    [(text,)] = airflow_process.rows("SELECT val FROM variable WHERE key = ?", key(tmp_path))
    config = ConfigParser(interpolation=None)
    config.read(airflow_process.home / "airflow.cfg")
    return json.loads(Fernet(config["core"]["fernet_key"]).decrypt(text))


def test_a_lost_ledger_is_refused_until_seeded(
    run: Run, airflow_process: Any, simulator: RunningSimulator, tmp_path: Path
) -> None:
    first = run("witnessed")
    assert first.tasks["import_badges"] == ["success"] * 16, first.log[-5_000:]
    witness = kept(airflow_process, tmp_path)
    assert sorted(witness["jobs"]) == sorted(one["job_id"] for one in first.returned["import_badges"])
    assert "keeps no witness" not in first.log

    again = run("witnessed_again")
    assert again.tasks["import_badges"] == ["success"], again.log[-5_000:]
    assert len(kept(airflow_process, tmp_path)["jobs"]) == 17

    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    calls = simulator.simulator.request_counts()
    lost = run("witnessed_again")
    assert lost.tasks["import_badges"] == ["failed"]
    assert lost.tries["import_badges"] == [1]  # another try would change nothing
    assert "is new and empty" in lost.log
    assert simulator.simulator.request_counts() == calls
    assert len(list(simulator.store.grants())) == ROWS

    seeded = run("witnessed_seed")
    assert seeded.tasks["seed"] == ["success"], seeded.log[-5_000:]
    assert "task seed" in kept(airflow_process, tmp_path)["noted_by"]
    taken = run("witnessed_again")
    assert taken.tasks["import_badges"] == ["success"], taken.log[-5_000:]
    assert len(list(simulator.store.grants())) == ROWS


def test_an_environment_variable_over_the_witness_is_warned_of(
    run: Run, simulator: RunningSimulator, tmp_path: Path
) -> None:
    ended = run("witnessed_again", **{f"AIRFLOW_VAR_{key(tmp_path).upper()}": "something else"})
    assert ended.tasks["import_badges"] == ["success"]
    assert ended.log.count("Airflow keeps no witness of this ledger, because an environment variable") == 1
    assert len(list(simulator.store.grants())) == 2
