"""The operator that takes back the badges which imports granted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.hooks import DEFAULT_CONN_ID
from airflow_provider_capillary.operators.airflow_installation import RetryPolicy, retry_arguments
from airflow_provider_capillary.operators.earlier_jobs import WorksOnEarlierJobs, task_ids_in
from airflow_provider_capillary.operators.retry import RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_capillary.jobs.pacing import StopSignal
    from airflow_provider_capillary.jobs.revoke import Revoked

__all__ = ["BadgeRevokeOperator"]


class BadgeRevokeOperator(WorksOnEarlierJobs):
    """Takes back the badges that imports granted, by the ``earnedBadgeId`` that the ledger holds of each.

    By default it is a dry run: it counts the badges of each kind that would be taken back, and does not call the API.
    A second run takes back nothing more. If it is killed, run it again: each badge is recorded in the ledger before
    the API is called for it and after the reply, and calling twice does no harm.

    It changes rows of the jobs named, and no others. (Of an import that was killed and returned nothing, it takes the
    job that the ledger holds.) A row that was accepted without an id, because it was found by reading back or a person
    said so, cannot be taken back by id, and is counted as ``without_id``. A revoked row is not granted again unasked:
    a later import of it, such as a backfill, reports it as ``already_accepted`` ("revoked, not sent"), unless you say
    ``import_again=True``, now or in another run of this task.

    :param job: (templated) what the import returned, a job id, or a list of these from a mapped import.
    :param dry_run: (templated) only count. Give ``False`` to take the badges back.
    :param import_again: (templated) let the next import grant the revoked rows again, for example with another expiry.
    :param capillary_conn_id: (templated) the connection of the import.
    :param ledger_conn_id: (templated) the same as the import's.
    :param retry_policy: as of ``BadgeImportOperator``.
    :return: ``{"jobs", "dry_run", "to_revoke", "badges", "revoked", "not_active", "refused", "unconfirmed",
        "already_revoked", "free", "without_id", "unknown", "reasons"}``. ``badges`` is ``to_revoke`` by
        ``badgeMetaId``. ``not_active`` had expired, or were revoked elsewhere. ``unknown`` may be granted; settle
        these rows first (``BadgeReconcileOperator``). Also in XCom of a task that fails because some were not revoked.
    """

    template_fields: Sequence[str] = ("job", "dry_run", "import_again", "capillary_conn_id", "ledger_conn_id")
    ui_color = "#f6dcdc"

    def __init__(
        self,
        *,
        job: Any,
        dry_run: bool | str = True,
        import_again: bool | str = False,
        capillary_conn_id: str = DEFAULT_CONN_ID,
        ledger_conn_id: str | None = None,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs, **retry_arguments(retry_policy))
        self.job = job
        self._import_tasks = task_ids_in(job)
        self.dry_run = dry_run  # type: ignore[assignment,method-assign] # hides BaseOperator.dry_run, a printer of templates
        self.import_again = import_again
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id

    def _work(self, context: Context, stop: StopSignal) -> Revoked:
        result = self._revoke(context, stop)
        self._log_result(result)
        return result

    def _revoke(self, context: Context, stop: StopSignal) -> Revoked:
        from airflow_provider_capillary.jobs.organisation import Organisation
        from airflow_provider_capillary.jobs.revoke import RevokeJob
        from airflow_provider_capillary.operators.ledger_location import open_ledger
        from airflow_provider_capillary.operators.running_task import connected, whose_word
        from airflow_provider_capillary.operators.witness_variable import witness_of

        only_count, again = _flag("dry_run", self.dry_run), _flag("import_again", self.import_again)
        by = whose_word(context)
        if only_count:
            with closing(open_ledger(self.ledger_conn_id)) as ledger:
                return RevokeJob(ledger, self._jobs(context, ledger, stop), None, by=by, stop=stop).run()
        hook = connected(self.capillary_conn_id)
        with closing(hook.get_conn()) as client, closing(open_ledger(self.ledger_conn_id)) as ledger:
            organisation = Organisation(client, hook.organisation, hook.requests_per_minute)
            witness_of(ledger, hook.organisation).compare()  # another ledger names other jobs and other ids
            job_ids = self._jobs(context, ledger, stop)
            return RevokeJob(ledger, job_ids, organisation, by=by, import_again=again, stop=stop).run()

    def _log_result(self, result: Revoked) -> None:
        for badge, rows in result.badges.items():
            self.log.info("%s: %s earned badges", badge, f"{rows:,}")
        if result.dry_run:
            self.log.info("Dry run: %d badges of %d jobs would be revoked", result.to_revoke, result.jobs)
        else:
            self.log.info(
                "Of %d badges %d are revoked, %d were not active any more, %d refused, %d unconfirmed",
                *(result.to_revoke, result.revoked, result.not_active, result.refused, result.unconfirmed),
            )
        if result.free:
            self.log.warning("%d revoked rows may be granted again by the next import of them", result.free)
        if result.without_id:
            self.log.warning("%d accepted rows have no earnedBadgeId and cannot be undone by id", result.without_id)
        if result.unknown:
            self.log.warning("%d rows are unknown, and may be granted: reconcile the jobs first", result.unknown)


def _flag(name: str, value: Any) -> bool:
    """Read a yes or no. Anything else is refused, because a typing error must not take badges away."""
    try:
        return msgspec.convert(value.strip() if isinstance(value, str) else value, bool, strict=False)
    except msgspec.ValidationError:
        raise ConfigurationError(f"{name}={value!r} is neither true nor false") from None
