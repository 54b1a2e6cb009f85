"""One reconciliation on the ledger and the API of a ``Trial``, of an import that left rows unknown."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_capillary.exceptions import ImportInterruptedError
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.reconcile import Action, Reconciled, ReconcileJob, ReconcileSettings
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.settling import Settlements

if TYPE_CHECKING:
    from airflow_provider_capillary.jobs.import_job import ImportResult

    from .trial import Trial

BY = "dag mending, run 1"
LOST_AFTER = {"kind": "drop", "at": "after_applying"}
LOST_BEFORE = {"kind": "drop", "at": "after_reading"}


class Watched(Settlements):
    """Settlements of which a test may see, or disturb, each settlement."""

    before_settling: Callable[[], object] = staticmethod(lambda: None)

    def settle(self, *arguments: Any, **named: Any) -> Any:
        self.before_settling()
        return super().settle(*arguments, **named)


def impatient() -> StopSignal:
    """Stops where it would wait. It must not just return early: a lease that outlasts a whole wait counts as over."""
    stop = StopSignal(wait=lambda seconds: stop.request(ImportInterruptedError("nothing is waited for")))
    return stop


def reconcile(
    trial: Trial,
    *results: ImportResult | str,
    action: str = "verify",
    organisation: str = "org",
    per_minute: int | None = None,
    stop: StopSignal | None = None,
    client: dict[str, Any] | None = None,
    before_settling: Callable[[], object] = lambda: None,
    **settings: Any,
) -> Reconciled:
    job_ids = [each if isinstance(each, str) else each.summary.job_id for each in results]
    chosen = ReconcileSettings(action=Action(action), by=BY, **settings)
    with (
        closing(Ledger(trial.ledger_url, **trial.clock.of_a_ledger())) as ledger,
        closing(trial.client(**(client or {}))) as badge_client,
    ):
        ledger.settlements = watched = Watched(ledger.database)
        watched.before_settling = before_settling
        asked = Organisation(badge_client, organisation, per_minute)
        job = ReconcileJob(
            ledger,
            job_ids,
            chosen,
            asked if action == "verify" else None,
            stop=stop or trial.stop_signal(),
            monotonic=trial.clock.steady,
            jitter=lambda: 0.0,
        )
        result = job.run()
    assert result.unknown_before == result.accepted + result.resend + result.unknown
    return result


def held(trial: Trial, *faults: dict[str, Any], rows: Any = None, **settings: Any) -> ImportResult:
    """An import of 12 rows in 3 batches that holds what it cannot prove."""
    trial.faults(*faults)
    result = trial.run(rows or trial.rows(12), **{"on_unknown": "hold", **settings})
    trial.faults()
    return result


def reported(trial: Trial, result: ImportResult) -> list[tuple[int, str]]:
    return [(number, state) for number, state, *_ in trial.issues_of(result)]
