"""Shows how far a running import is: in a group of the task's log, and in the task's state store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow_provider_capillary.core.summary import FINAL_STATES, Reason
from airflow_provider_capillary.jobs.progress import JobState, ProgressFacts, harmless
from airflow_provider_capillary.operators.airflow_installation import task_state_store

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

KEY = "progress"
TOP_REASONS = 5
LONGEST_MESSAGE = 100


class LiveProgress:
    """Keeps the key ``progress`` of Airflow's task state store up to date; give ``show`` to the job.

    Airflow shows the store beside the task while it runs. The value describes the try that runs, and replaces that of
    an earlier try at once. Airflow keeps the store when a task is cleared. So ``epoch`` (``ti.max_tries``, which only
    a clear changes) and ``job_id`` say what a value belongs to. No import reads the value: the ledger decides what to
    send. If there is no store (Airflow 3.2, a plain dict as context), or it fails, the import runs as usual.

    ``state`` is ``checking``, ``running``, ``waiting to read back`` (``until``: an instant, else null), ``finished`` or
    ``failed``. ``done`` counts the rows that have an outcome.

    Use it on the task's own thread only, because not every version of Airflow lets two threads call its supervisor.
    """

    def __init__(self, context: Context, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        ti = context["ti"]
        self._life = {"epoch": getattr(ti, "max_tries", 0), "try_number": getattr(ti, "try_number", 1)}
        self._now = now
        self._open = False  # the group
        self._ended = self._waits = False
        store = task_state_store(context)
        self._set = harmless(store.set) if store is not None else None

    def __enter__(self) -> LiveProgress:
        self._write(_NOTHING_YET | {"state": JobState.CHECKING.value})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fold(running=False)
        if error is not None and not self._ended:  # no job was begun that could report how it ended
            self._write(_NOTHING_YET | {"state": JobState.FAILED.value})

    def show(self, facts: ProgressFacts) -> None:
        """Show how far the job is."""
        self._ended = facts.state in (JobState.FINISHED, JobState.FAILED)
        self._fold(running=facts.state is JobState.RUNNING)
        until = None
        if facts.wait is not None:
            until = (self._now() + timedelta(seconds=facts.wait)).isoformat(timespec="seconds")
            if not self._waits:
                log.info("Waiting until %s to read back rows without proof: the API may still be at work", until)
        self._waits = facts.wait is not None
        self._write(progress_value(facts) | {"until": until})

    def _fold(self, *, running: bool) -> None:
        """Begin or end the group of the log that Airflow folds. The result is logged after it, so that it is seen."""
        if running != self._open:
            self._open = running
            log.info("::group::Sending" if running else "::endgroup::")

    def _write(self, value: dict[str, Any]) -> None:
        if self._set is not None:
            self._set(KEY, self._life | value | {"updated_at": self._now().isoformat(timespec="seconds")})


def progress_value(facts: ProgressFacts) -> dict[str, Any]:
    """The value to store: counts, and the reasons of the summary, which hold no values of rows."""
    return {
        "state": facts.state.value,
        "until": None,
        "job_id": facts.job_id,
        "rows": facts.rows,
        "done": facts.done,
        "share": round(facts.done / facts.rows, 4) if facts.rows else float(facts.state == "finished"),
        "rate": round(facts.rate, 1),
        "counts": {state.value: facts.counts.get(state, 0) for state in FINAL_STATES},
        "reasons": [_reason(reason) for reason in facts.reasons[:TOP_REASONS]],
    }


def _reason(reason: Reason) -> dict[str, Any]:
    message = reason.message
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[: LONGEST_MESSAGE - 1]}…"
    return {"stage": reason.stage, "code": reason.code, "message": message, "rows": reason.rows}


#: The value before the job begins. It has every key, so that a reader need not check for them.
_NOTHING_YET = progress_value(ProgressFacts(JobState.RUNNING, "", 0, 0.0, {}, ()))
