"""One revocation on the ledger and the API of a ``Trial``, and what is there after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.revoke import Revoked, RevokeJob
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.revoking import Revocations

if TYPE_CHECKING:
    from airflow_provider_capillary.jobs.import_job import ImportResult

    from .trial import Trial

BY = "dag undo, run 1"


class Watched(Revocations):
    """Revocations of which a test may see, or disturb, each note."""

    before_note: Callable[[], object] = staticmethod(lambda: None)
    before_answer: Callable[[], object] = staticmethod(lambda: None)

    def note(self, *arguments: Any, **named: Any) -> None:
        self.before_note()
        super().note(*arguments, **named)

    def answer(self, *arguments: Any, **named: Any) -> bool:
        self.before_answer()
        return super().answer(*arguments, **named)


def revoke(
    trial: Trial,
    *results: ImportResult | str,
    dry_run: bool = False,
    organisation: str = "org",
    per_minute: int | None = None,
    stop: StopSignal | None = None,
    import_again: bool = False,
    revoker: Callable[[BadgeClient], Any] = lambda client: client,
    before_note: Callable[[], object] = lambda: None,
    before_answer: Callable[[], object] = lambda: None,
) -> Revoked:
    job_ids = [each if isinstance(each, str) else each.summary.job_id for each in results]
    with (
        closing(Ledger(trial.ledger_url, **trial.clock.of_a_ledger())) as ledger,
        closing(trial.client()) as client,
    ):
        ledger.revocations = watched = Watched(ledger.database)
        watched.before_note, watched.before_answer = before_note, before_answer
        asked = None if dry_run else Organisation(revoker(client), organisation, per_minute)
        job = RevokeJob(
            ledger,
            job_ids,
            asked,
            by=BY,
            import_again=import_again,
            stop=stop or trial.stop_signal(),
            monotonic=trial.clock.steady,
            jitter=lambda: 0.0,
        )
        result = job.run()
    if not dry_run:
        assert result.to_revoke == result.revoked + result.not_active + result.refused + result.unconfirmed
    return result


def active(trial: Trial) -> int:
    return sum(grant.is_active for grant in trial.simulator.store.grants())


def asked(trial: Trial) -> int:
    return trial.calls("revokeEarn")


def notes(trial: Trial) -> list[tuple[str | None, int]]:
    """Answers that are noted, and how often each."""
    return sorted(trial.ask_ledger("SELECT answer, count(*) FROM capillary_revocation GROUP BY answer"), key=str)
