"""How many files of the package one accepted row crosses: ``python -m benchmarks.row_path``.

The number is what a reader must open to follow a row from the dataset to its outcome. One Parquet file of one row, a
SQLite ledger and the simulator; counted from the first window of the import to the commit of the outcome, on every
thread. Once the outcome is on its way to the ledger, only the ledger's thread counts: the others go on to other rows.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

import airflow_provider_capillary
from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.jobs.import_job import ImportJob
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.settings import import_settings
from airflow_provider_capillary.ledger.facts import JobScope, Outcome
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.writer import LedgerWriter
from airflow_provider_capillary.simulator.server import running_simulator

WRITER = "capillary-ledger"  #: the name of its thread
_PACKAGE = Path(airflow_provider_capillary.__file__).parent


class Crossing:
    """Notes, while it is open, each call of a function of the package."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []  #: file and function, in the order of the calls
        self._open = False
        self._recorded = False  #: the outcome, to the ledger's thread

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """A profile function: see ``sys.setprofile``."""
        if self._open and event == "call" and (not self._recorded or threading.current_thread().name == WRITER):
            self._recorded = self._recorded or frame.f_code is LedgerWriter.record_later.__code__
            name = frame.f_code.co_filename
            if name.startswith(str(_PACKAGE)) and not name.startswith(str(_PACKAGE / "simulator")):
                self.calls.append((str(Path(name).relative_to(_PACKAGE)), frame.f_code.co_qualname))

    def begin(self) -> None:
        """Forget what was noted, and note from now on: windows are read before the import too."""
        self.calls.clear()
        self._open = True

    def end(self) -> None:
        """Note nothing more."""
        self._open = False


def accepted_row() -> list[tuple[str, str]]:
    """The calls that one accepted row takes, each as file and function, in their order."""
    crossing = Crossing()

    class WatchedLedger(Ledger):
        def record(self, job: Any, notes: Sequence[Any]) -> list[int]:
            keys = super().record(job, notes)
            if any(isinstance(note, Outcome) for note in notes):
                crossing.end()
            return keys

    with tempfile.TemporaryDirectory() as folder, running_simulator() as simulator:
        rows = Path(folder) / "rows.parquet"
        pq.write_table(pa.Table.from_pylist([_row()]), rows)
        known = {"login": simulator.settings.username, "password": simulator.settings.password}
        with (
            closing(open_dataset(str(rows))) as dataset,
            closing(WatchedLedger(f"sqlite:///{folder}/ledger.db")) as ledger,
            closing(BadgeClient(msgspec.convert({"base_url": simulator.url, **known}, ClientSettings))) as client,
        ):
            read = dataset.windows

            def windows(rows: int) -> Iterator[Any]:
                crossing.begin()
                return read(rows)

            dataset.windows = windows  # type: ignore[method-assign]
            job = ImportJob(
                dataset, Organisation(client, "org"), ledger, JobScope("dag", "import", "run"), import_settings()
            )
            threading.setprofile(crossing.note)
            sys.setprofile(crossing.note)
            try:
                result = job.run()
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
    assert result.summary.accepted == 1
    return crossing.calls


def _row() -> dict[str, Any]:
    return {
        "badgeMetaId": "5eed0000bad9e00000000001",
        "customerId": 880_000_001,
        "earnEventDate": 1_740_000_000,
        "earnExpiresOn": 1_900_000_000,
    }


if __name__ == "__main__":
    crossed = Counter(file for file, _ in accepted_row())
    for name, calls in sorted(crossed.items()):
        sys.stdout.write(f"{calls:5}  {name}\n")
    sys.stdout.write(f"{len(crossed)} files\n")
