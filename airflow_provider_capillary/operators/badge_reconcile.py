"""The operator that settles rows which earlier imports left unknown. It sends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.hooks import DEFAULT_CONN_ID
from airflow_provider_capillary.operators.airflow_installation import RetryPolicy, retry_arguments
from airflow_provider_capillary.operators.earlier_jobs import WorksOnEarlierJobs, task_ids_in
from airflow_provider_capillary.operators.retry import RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_capillary.jobs.pacing import StopSignal
    from airflow_provider_capillary.jobs.reconcile import Reconciled, ReconcileSettings

__all__ = ["BadgeReconcileOperator"]

LONGEST_WAIT = 86_400.0


class BadgeReconcileOperator(WorksOnEarlierJobs):
    """Settles rows that earlier imports left ``unknown``: were they granted, or not?

    Rows that were granted become accepted. Rows that were not become free: the next import of them sends them, this
    task sends nothing. The report of the import shows both from then on, and its counts change. An import that is
    still running settles its own rows, so this task then ends as one to be retried. It can be repeated, and killed at
    any time. An import that was killed returned nothing; its job is looked up in the ledger.

    :param job: (templated) what the import returned, a job id, or a list of these from a mapped import.
    :param action: (templated) ``verify`` reads each badge back. With ``accept`` you say that all of these rows were
        granted; with ``resend`` that none was (if that is wrong, they are granted twice). The ledger records which
        task said so. ``leave`` only counts.
    :param capillary_conn_id: (templated) the connection of the import; ``verify`` reads with it.
    :param ledger_conn_id: (templated) the same as the import's.
    :param verify_after: seconds after the send before a read may prove that a badge is not there.
    :param max_unknown: (templated) rows, or a share such as ``"5%"`` of those that were unknown, that may stay
        unknown before the task fails. ``leave`` never fails.
    :param retry_policy: as of ``BadgeImportOperator``.
    :return: ``{"jobs", "unknown_before", "accepted", "resend", "unknown", "customers", "reasons"}``; also in XCom of a
        task that fails because too many rows stay unknown. ``resend`` counts rows that may be sent again now,
        ``customers`` the customers with rows that stay unknown. Always
        ``unknown_before == accepted + resend + unknown``.
    """

    template_fields: Sequence[str] = ("job", "action", "capillary_conn_id", "ledger_conn_id", "max_unknown")
    ui_color = "#e4e6f5"

    def __init__(
        self,
        *,
        job: Any,
        action: str = "verify",
        capillary_conn_id: str = DEFAULT_CONN_ID,
        ledger_conn_id: str | None = None,
        verify_after: float = 60,
        max_unknown: int | str = 0,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs, **retry_arguments(retry_policy))
        self.job = job
        self._import_tasks = task_ids_in(job)
        self.action = action
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.verify_after = verify_after
        self.max_unknown = max_unknown

    def _work(self, context: Context, stop: StopSignal) -> Reconciled:
        result = self._reconcile(context, stop)
        self.log.info(
            "%d rows of %d jobs were unknown: %d are accepted, %d free for the next import to send, %d stay unknown",
            *(result.unknown_before, result.jobs, result.accepted, result.resend, result.unknown),
        )
        return result

    def _reconcile(self, context: Context, stop: StopSignal) -> Reconciled:
        from airflow_provider_capillary.jobs.organisation import Organisation
        from airflow_provider_capillary.jobs.reconcile import Action, ReconcileJob
        from airflow_provider_capillary.operators.ledger_location import open_ledger
        from airflow_provider_capillary.operators.running_task import connected, whose_word

        settings = self._settings(whose_word(context))
        if settings.action is not Action.VERIFY:
            with closing(open_ledger(self.ledger_conn_id)) as ledger:
                return ReconcileJob(ledger, self._jobs(context, ledger, stop), settings, stop=stop).run()
        hook = connected(self.capillary_conn_id)
        with closing(hook.get_conn()) as client, closing(open_ledger(self.ledger_conn_id)) as ledger:
            organisation = Organisation(client, hook.organisation, hook.requests_per_minute)
            return ReconcileJob(ledger, self._jobs(context, ledger, stop), settings, organisation, stop=stop).run()

    def _settings(self, by: str) -> ReconcileSettings:
        from airflow_provider_capillary.core.budget import parse_budget
        from airflow_provider_capillary.jobs.reconcile import Action, ReconcileSettings

        try:
            action = Action(str(self.action).strip().lower())
        except ValueError:
            known = ", ".join(action.value for action in Action)
            raise ConfigurationError(f"action={self.action!r} is none of {known}") from None
        seconds: Any = self.verify_after  # from a DAG file, not checked yet
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST_WAIT:
            raise ConfigurationError(f"verify_after={seconds!r}: give seconds, 0 to {LONGEST_WAIT:.0f}")
        budget = parse_budget("max_unknown", self.max_unknown)
        return ReconcileSettings(action=action, by=by, verify_after=seconds, max_unknown=budget)
