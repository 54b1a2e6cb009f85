"""One life of a task: what a worker's process does between its start and its end. Runs in a process of its own."""

from __future__ import annotations

import faulthandler
import os
import signal
import traceback
import uuid
from pathlib import Path
from typing import Any, cast

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.core import send_limits
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.datasets.storage import whole_file
from airflow_provider_capillary.exceptions import CapillaryError, ImportInterruptedError
from airflow_provider_capillary.jobs import import_job
from airflow_provider_capillary.jobs.import_job import ImportJob, ImportResult
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.settings import import_settings
from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.ledger.ledger import Ledger

from .crash_points import CrashingClient, CrashingLedger, CrashPoints
from .plans import End
from .surroundings import surround

ORGANISATION = "chaos"


class Life(msgspec.Struct, frozen=True):
    """Everything that a process has to know."""

    dataset: str
    ledger: str
    scope: JobScope
    settings: dict[str, str | int | float | bool]
    client: dict[str, str | float]
    lease_seconds: float
    elsewhere: bool
    end: End
    reported: str  #: where the result goes
    witness: str = ""  #: the file that stands for Airflow's Variable; none: there is no Airflow
    connect_seconds: float = 0.0  #: how long each connection takes to be made, name and all
    clock: tuple[tuple[float, float], ...] = ()  #: steps of the wall clock; see ``surround``


class WitnessFile:
    """Keeps the witness as Airflow's database would: outside the ledger, and outliving the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        """What was written last; nothing before that."""
        return self._path.read_text() if self._path.exists() else None

    def write(self, text: str) -> None:
        """Write it whole: a process killed meanwhile leaves what was there before."""
        with whole_file(self._path) as unfinished:
            unfinished.write_text(text)


class Report(msgspec.Struct, frozen=True):
    """What the process reports at its end; a killed one reports nothing."""

    summary: dict[str, Any] | None = None
    error: str | None = None
    message: str = ""
    unforeseen: str | None = None  #: a traceback


def live(life: Life) -> None:
    """Run the job, and report how it went."""
    faulthandler.register(signal.SIGUSR1)
    stop = StopSignal()
    interrupted = ImportInterruptedError("asked to stop")
    signal.signal(signal.SIGTERM, lambda *_: stop.request(interrupted))
    try:
        reported = _report(_import(life, stop))
    except CapillaryError as error:
        reported = Report(error=type(error).__name__, message=str(error))
    except Exception:  # noqa: BLE001 - whatever it is, it is reported
        reported = Report(unforeseen=traceback.format_exc())
    with whole_file(Path(life.reported)) as unfinished:
        unfinished.write_bytes(msgspec.json.encode(reported))


def _report(result: ImportResult) -> Report:
    error = result.error
    return Report(result.summary.as_dict(), type(error).__name__ if error else None, str(error or ""))


def _import(life: Life, stop: StopSignal) -> ImportResult:
    points = CrashPoints(life.end, Path(f"{life.reported}.paused"))
    surround(life.connect_seconds, life.clock, points)
    send_limits.STALE_INTENT_SECONDS = send_limits.WRITE_SECONDS = 0.5  # or each death would be waited out
    import_job.WINDOW_ROWS = 100  # most windows are then not looked up, as in a large import
    client = BadgeClient(msgspec.convert(life.client, ClientSettings, strict=False))
    owner = f"elsewhere-{uuid.uuid4()}/{os.getpid()}/1" if life.elsewhere else None
    ledger = Ledger(life.ledger, lease_seconds=life.lease_seconds, owner=owner)
    store = WitnessFile(Path(life.witness)) if life.witness else None
    job = ImportJob(
        open_dataset(life.dataset),
        Organisation(cast(BadgeClient, CrashingClient(client, points)), ORGANISATION),
        cast(Ledger, CrashingLedger(ledger, points)),
        life.scope,
        import_settings(**life.settings),
        stop=stop,
        heartbeat_seconds=life.lease_seconds / 5,
        jitter=lambda: 0.02,
        witness=LedgerWitness(store, ledger, ORGANISATION),
    )
    return job.run()
