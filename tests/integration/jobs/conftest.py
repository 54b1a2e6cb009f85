"""A trial for each test of a job."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.jobs import import_job
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness, WitnessStore
from airflow_provider_capillary.jobs.planner import Planner
from airflow_provider_capillary.ledger.ledger import Ledger

from .moments import Memory
from .trial import Trial


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger's file with all its tables: to copy it is quicker than to make it."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    Ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def trial(tmp_path: Path, empty_ledger: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    monkeypatch.setattr(import_job, "WINDOW_ROWS", 10)  # so that small datasets have windows that are not looked up
    close = Planner.close
    with contextlib.ExitStack() as stack:
        trial = Trial(tmp_path, empty_ledger, stack)

        def counted(planner: Planner) -> None:
            trial.left_in_memory.append(planner.rows_in_doubt)
            close(planner)

        monkeypatch.setattr(Planner, "close", counted)
        yield trial


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def night(trial: Trial, memory: Memory) -> Callable[..., Any]:
    """Runs a job of the given night over the same three rows, with the witness."""

    def run(number: int, store: WitnessStore | None = memory, **changes: Any) -> Any:
        with closing(Ledger(trial.ledger_url)) as ledger:
            witness = LedgerWitness(store, ledger, "org", clock=trial.clock.now, monotonic=trial.clock.now)
            return trial.run(trial.rows(3), run_id=f"night-{number}", witness=witness, **changes)

    return run
