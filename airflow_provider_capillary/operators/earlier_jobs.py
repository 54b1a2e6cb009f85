"""The base of the operators that work on earlier jobs: it finds the jobs, ends the task, and stops on a kill."""

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
    """The counts of what such an operator did."""

    @property
    def error(self) -> CapillaryError | None:
        """Why it is no success, or ``None``."""
        ...

    def as_dict(self) -> dict[str, object]:
        """The counts as plain values, for XCom."""
        ...


class WorksOnEarlierJobs(BaseOperator):
    """An operator that works on jobs of earlier imports, and returns counts."""

    job: Any
    _stop: StopSignal | None = None
    _import_tasks: tuple[str, ...] = ()  #: that ``job`` refers to; rendering puts values in the place of references

    def execute(self, context: Context) -> dict[str, Any]:
        """Do the work and return the counts. A task that fails pushes them to XCom, too.

        :raises BadgeTaskFailed: an argument is wrong, the API refuses, or more is left undone than is allowed.
        :raises BadgeTaskInterrupted: an import runs, or API or ledger cannot be reached; try again.
        :raises AirflowSkipException: no import began a job.
        """
        # Not imported with the DAG file, because they are slow to load.
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
        """Call the API no more. What it has answered is recorded already."""
        if self._stop is not None:
            from airflow_provider_capillary.jobs.pacing import STOPPED

            self._stop.request(ImportInterruptedError(STOPPED))

    def _jobs(self, context: Context, ledger: Ledger, stop: StopSignal) -> list[str]:
        """The ids of the jobs to work on. If an import was killed and returned nothing, the ledger is asked.

        :raises AirflowSkipException: no import began one.
        """
        imports = imports_of(self, context, ledger, job_ids_of(self.job), self._import_tasks, stop.pause)
        if not imports.job_ids:
            raise AirflowSkipException(
                f"There is no job to work on: the ledger {ledger.description} holds none of an import of this run."
            )
        if imports.found:
            self.log.info("Found in the ledger, because their imports returned nothing: %s", ", ".join(imports.found))
        return list(imports.job_ids)

    def _work(self, context: Context, stop: StopSignal) -> AccountOfJobs:
        """Do the work, and log what was done."""
        raise NotImplementedError
