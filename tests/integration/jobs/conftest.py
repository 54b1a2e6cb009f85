"""A trial for each test of a job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_capillary.jobs import import_job
from airflow_provider_capillary.jobs.planner import Planner
from airflow_provider_capillary.ledger.ledger import Ledger

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
