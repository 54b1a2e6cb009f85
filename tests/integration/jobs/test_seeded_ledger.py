"""A seed is the way out of a ledger that is refused: it is let through, and imports then go on with this ledger."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_capillary.core.seeding import seed_choices
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import BudgetExceededError, WitnessUnavailableError, WrongLedgerError
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
from airflow_provider_capillary.jobs.seed import Seeded, SeedJob, seed_settings
from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.ledger.ledger import Ledger

from .moments import Memory
from .trial import Trial

Do = Callable[..., Any]


@pytest.fixture
def seed(trial: Trial, memory: Memory) -> Do:
    """Notes rows as granted outside the trial's ledger."""

    def run(rows: list[dict[str, Any]], store: Memory | None = memory, **settings: Any) -> Seeded:
        with (
            closing(open_dataset(rows, required_columns=seed_choices(None).required)) as dataset,
            closing(Ledger(trial.ledger_url)) as ledger,
        ):
            witness = LedgerWitness(store, ledger, "org", clock=trial.clock.now, monotonic=trial.clock.now)
            job = SeedJob(
                dataset,
                "org",
                "",
                ledger,
                JobScope("dag", "seed", "once"),
                seed_settings(**settings),
                by="Ada",
                witness=witness,
            )
            return job.run()

    return run


def lose(trial: Trial, way: str) -> None:
    """Make the ledger one that is refused."""
    ledger = trial.folder / "ledger.db"
    for suffix in ("", "-wal", "-shm"):
        (trial.folder / f"ledger.db{suffix}").unlink(missing_ok=True)
    if way == "another":
        trial.run(trial.rows(1, first=100), run_id="without a witness")
    elif way == "older":
        shutil.copy(trial.folder / "backup.db", ledger)


@pytest.mark.parametrize("way", ["new", "another", "older"])
def test_a_seeded_ledger_is_taken_and_regrants_nothing(
    trial: Trial, night: Do, seed: Do, memory: Memory, way: str
) -> None:
    night(1)
    shutil.copy(trial.folder / "ledger.db", trial.folder / "backup.db")
    night(2)
    lose(trial, way)
    with pytest.raises(WrongLedgerError):
        night(3)
    result = seed(trial.rows(3))
    assert result.error is None
    assert result.seeded + result.already_held == 3
    assert '"noted_by":"Ada"' in memory.written[-1]
    assert trial.ends(night(3)) == {"already_accepted": 3}
    assert trial.ends(night(4)) == {"already_accepted": 3}
    assert trial.times_granted() == [1]


def test_a_repeated_seed_takes_the_ledger_too(trial: Trial, night: Do, seed: Do, memory: Memory) -> None:
    night(1)
    lose(trial, "new")
    memory.failing = True
    with pytest.raises(WitnessUnavailableError):
        seed(trial.rows(3))
    memory.failing = False
    with pytest.raises(WrongLedgerError):
        night(2)
    assert seed(trial.rows(3)).already_held == 3
    assert trial.ends(night(2)) == {"already_accepted": 3}


@pytest.mark.parametrize(
    ("rows", "settings"),
    [(0, {}), (3, {"dry_run": True}), (-3, {}), (-3, {"max_invalid": "100%"})],
    ids=["no rows", "dry run", "refused", "all invalid"],
)
def test_an_empty_seed_leaves_the_ledger_refused(
    trial: Trial, night: Do, seed: Do, rows: int, settings: dict[str, Any]
) -> None:
    night(1)
    lose(trial, "new")
    given = [row | ({"earnEventDate": "yesterday"} if rows < 0 else {}) for row in trial.rows(abs(rows))]
    result = seed(given, **settings)
    assert isinstance(result.error, BudgetExceededError) is (rows < 0 and not settings)
    with pytest.raises(WrongLedgerError):
        night(2)


def test_without_a_store_one_warning_says_so(trial: Trial, seed: Do, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert seed(trial.rows(3), store=None).seeded == 3
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "no Airflow database" in warning


def test_a_shadowing_value_is_warned_of(
    trial: Trial, seed: Do, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    memory.shadow = "x"
    with caplog.at_level(logging.WARNING):
        assert seed(trial.rows(3)).error is None
    assert caplog.text.count("keeps no witness") == 1


def test_a_store_that_forgets_is_not_believed(trial: Trial, seed: Do, memory: Memory) -> None:
    memory.forgets = True
    with pytest.raises(WitnessUnavailableError, match="the rows are recorded"):
        seed(trial.rows(3))
