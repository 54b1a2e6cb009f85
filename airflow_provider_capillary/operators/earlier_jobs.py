"""What the operators that work on earlier jobs share: which jobs, how a task ends, how it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_capillary.exceptions import CapillaryError, ImportInterruptedError
from airflow_provider_capillary.hooks.errors import as_airflow_error
from airflow_provider_capillary.operators.upstream_imports import imports_of, job_ids_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_capillary.jobs.pacing import StopSignal
    from airflow_provider_capillary.ledger.ledger import Ledger


class AccountOfJobs(Protocol):
    """What was done, in numbers."""

    @property
    def error(self) -> CapillaryError | None:
        """Why it is no success."""
        ...

    def as_dict(self) -> dict[str, object]:
        """Plain values for XCom."""
        ...


class WorksOnEarlierJobs(BaseOperator):
    """An operator that works on what imports left behind, and returns its account."""

    job: Any
    _stop: StopSignal | None = None
    _import_tasks: tuple[str, ...] = ()  #: that ``job`` refers to; rendering puts values in the place of references

    def execute(self, context: Context) -> dict[str, Any]:
        """Do the work and give the counts, or fail with them in XCom.

        :raises BadgeTaskFailed: an argument is wrong, the API refuses, or more is left undone than may be
        :raises BadgeTaskInterrupted: an import runs, or API or ledger cannot be reached; try again
        :raises AirflowSkipException: no import began a job
        """
        # Not with the DAG file: they take their time to load.
        from airflow_provider_capillary.jobs.pacing import StopSignal
        from airflow_provider_capillary.operators.running_task import push_result

        self._stop = StopSignal()
        try:
            account = self._work(context, self._stop)
        except CapillaryError as error:
            raise as_airflow_error(error) from error
        counts = account.as_dict()
        if account.error is None:
            return counts
        push_result(context, counts)
        raise as_airflow_error(account.error) from account.error

    def on_kill(self) -> None:
        """Ask the API for no more; what it answered is recorded already."""
        if self._stop is not None:
            from airflow_provider_capillary.jobs.pacing import STOPPED

            self._stop.request(ImportInterruptedError(STOPPED))

    def _jobs(self, context: Context, ledger: Ledger, stop: StopSignal) -> list[str]:
        """The ids of the jobs to work on; of an import that was killed and returned nothing, the ledger knows it.

        :raises AirflowSkipException: no import began one.
        """
        imports = imports_of(self, context, ledger, job_ids_of(self.job), self._import_tasks, stop.pause)
        if not imports.job_ids:
            raise AirflowSkipException(
                f"There is no job to work on: the ledger {ledger.description} holds none of an import of this run."
            )
        if imports.found:
            self.log.info("Found in the ledger, for their imports returned nothing: %s", ", ".join(imports.found))
        return list(imports.job_ids)

    def _work(self, context: Context, stop: StopSignal) -> AccountOfJobs:
        """Do it, and log what was done."""
        raise NotImplementedError
