"""What people and tools do to a ledger's file while an import runs: nothing is granted twice, and nothing is lost."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from airflow_provider_capillary.exceptions import CapillaryError

from .trial import Trial


def statement(*texts: str) -> Callable[[Path], None]:
    """A tool that runs statements; it may be refused, as the file is in use."""

    def run(path: Path) -> None:
        with closing(sqlite3.connect(path, timeout=0.2, isolation_level=None)) as tool, suppress(sqlite3.Error):
            for text in texts:
                tool.execute(text).fetchall()

    return run


def drop_shared_memory(path: Path) -> None:
    os.unlink(f"{path}-shm")


def touch(path: Path) -> None:
    os.utime(path, (0, 0))


def read_only(path: Path) -> None:
    path.chmod(0o400)


HANDLED = {
    "VACUUM": statement("VACUUM"),
    "journal_mode=DELETE": statement("PRAGMA journal_mode=DELETE"),
    "journal_mode=OFF": statement("PRAGMA journal_mode=OFF", "BEGIN IMMEDIATE", "COMMIT"),
    "checkpoint": statement("PRAGMA wal_checkpoint(TRUNCATE)"),
    "exclusive": statement("PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE", "COMMIT"),
    "rebuilt indexes": statement("REINDEX", "ANALYZE", "PRAGMA optimize"),
    "reader in mid-transaction": statement("BEGIN", "SELECT count(*) FROM capillary_batch"),
    "-shm removed": drop_shared_memory,
    "touched": touch,
    "read-only": read_only,
}


@pytest.mark.parametrize("moment", ["intent-done", "sent"])
@pytest.mark.parametrize("handled", HANDLED.values(), ids=HANDLED)
def test_handling_a_file_in_use_grants_nothing_twice(
    trial: Trial, handled: Callable[[Path], None], moment: str
) -> None:
    trial.prove_reads()
    path = trial.folder / "ledger.db"
    trial.moments.at(moment, lambda: handled(path), number=2)
    with suppress(CapillaryError):
        trial.run(trial.rows(12))
    path.chmod(0o600)
    trial.clock.advance(3_600)
    again = trial.run(trial.rows(12))
    assert (again.error, trial.ends(again)) == (None, {"accepted": 12})
    assert (trial.times_granted(), len(trial.granted())) == ([1], 13)


MOMENTS = ("intent", "intent-done", "send", "sent", "outcome", "outcome-done", "read", "seen")
ERRORS = (KeyboardInterrupt, SystemExit, MemoryError, RecursionError, GeneratorExit)


@pytest.mark.parametrize(("moment", "error"), list(zip(MOMENTS, itertools.cycle(ERRORS), strict=False)))
def test_any_error_at_any_moment_is_finished_by_a_retry(trial: Trial, moment: str, error: type[BaseException]) -> None:
    trial.prove_reads()
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    trial.moments.fail(moment, error("as it happens"), number=2 if moment not in ("read", "seen") else 1)
    with pytest.raises(error):
        trial.run(trial.rows(12), concurrency=2)
    trial.faults()
    trial.clock.advance(3_600)
    again = trial.run(trial.rows(12), concurrency=2)
    assert (again.error, trial.ends(again)) == (None, {"accepted": 12})
    assert (trial.times_granted(), len(trial.granted())) == ([1], 13)
