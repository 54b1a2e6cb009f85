"""The operator that writes files which say what imports did not accept, and why."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from airflow_provider_capillary.exceptions import CapillaryError
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed, BadgeTaskInterrupted, as_airflow_error
from airflow_provider_capillary.operators.airflow_installation import RetryPolicy, airflow_home, option, retry_arguments
from airflow_provider_capillary.operators.earlier_jobs import Imports, imports_of, job_ids_of, task_ids_in
from airflow_provider_capillary.operators.report_link import BadgeReportLink
from airflow_provider_capillary.operators.retry import RETRY_POLICY
from airflow_provider_capillary.operators.telemetry.lineage import ReportsLineage, WorkDone

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_capillary.ledger.ledger import Ledger
    from airflow_provider_capillary.reports.error_report import ErrorReport
    from airflow_provider_capillary.reports.report_facts import JobFacts

__all__ = ["BadgeErrorReportOperator"]

DEFAULT_FOLDER = "capillary_reports"
MOST_FAULTS = 5  #: imports that the task's failure names


class BadgeErrorReportOperator(ReportsLineage, BaseOperator):
    """Writes ``errors.csv``, ``summary.json`` and ``report.html`` of imports, whether they succeeded or failed.

    ``errors.csv`` has the rows that are rejected, invalid, unknown or not sent, with the columns of the dataset and
    the reason. Correct them there and import that file; rows of it that were accepted since are not sent again. Open
    it with all columns as text, because spreadsheets round a ``customerId`` of more than 15 digits. ``report.html`` is
    the page for people: counts, reasons, badges, and what to do next; it needs no network. Rows that
    ``on_unknown="resend"`` sent again without proof are in ``may_be_granted_twice.csv``, if there are any.

    Give it ``trigger_rule="all_done"``, because the report matters most after an import that failed. An import that
    was killed or marked as failed has returned nothing; its job is looked up in the ledger by DAG, run, task and map
    index. When the report is published, the task fails, without a retry, if one of the imports is no success by what
    the ledger holds then. So a DAG that ends with the report is red when it should be. Rows that were settled since
    count as settled. If every import was skipped, the report is skipped, too: an empty one would read like "no
    errors". A retry writes the same files to the same place; each is replaced as a whole.

    With ``outlets=[Asset(...)]`` one event describes all imports together, also mapped ones. Airflow sends events of
    successful tasks only, so none comes after a failed import. To get an event in any case, set
    ``fail_with_import=False`` here, and end the DAG with a second task that fails with the import; the event's extra
    says how it went (``succeeded``, ``rows_to_look_at``, counts). If all imports were dry runs, there is no event.

    :param job: (templated) what the import returned, a job id, or a list of these from a mapped import.
    :param fail_with_import: whether the task fails, after the report is published, if an import is no success.
    :param report_path: (templated) URI of a folder on any object storage; each job has a folder of its own below it,
        ``<dag_id>/<run_id>/<job_id>``. Default: the option ``report_path`` of ``[capillary]``, else
        ``capillary_reports`` in ``AIRFLOW_HOME``.
    :param ledger_conn_id: (templated) the same as the import's.
    :param retry_policy: as of ``BadgeImportOperator``.
    :return: ``{"errors_csv", "summary_json", "report_html", "jobs", "rows_reported"}``, the summary's counts over all
        jobs, ``may_be_granted_twice``, and ``may_be_granted_twice_csv`` if that is not 0.
    """

    _wait: Callable[[float], object] = staticmethod(time.sleep)
    template_fields: Sequence[str] = ("job", "report_path", "ledger_conn_id")
    operator_extra_links: Collection[BaseOperatorLink] = (BadgeReportLink(),)
    ui_color = "#f4e9dc"

    def __init__(
        self,
        *,
        job: Any,
        report_path: str | None = None,
        ledger_conn_id: str | None = None,
        fail_with_import: bool = True,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs, **retry_arguments(retry_policy))
        self.job = job
        self.report_path = report_path
        self.ledger_conn_id = ledger_conn_id
        self.fail_with_import = fail_with_import
        self._import_tasks = task_ids_in(job)  # rendering puts values in the place of references

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report, and return the URIs of its files and the counts.

        :raises BadgeTaskFailed: an argument is wrong, the ledger does not know the job, the folder cannot be used, or
            an import is no success. In the last case the report is published, and the return value is in XCom.
        :raises BadgeTaskInterrupted: the ledger cannot be reached, or an import runs at this moment; try again.
        :raises AirflowSkipException: no import was to run.
        """
        try:
            return self._report(context)
        except CapillaryError as error:
            raise as_airflow_error(error) from error

    def _report(self, context: Context) -> dict[str, Any]:
        # Not imported with the DAG file: what a report needs is slow to load.
        from airflow_provider_capillary.operators.ledger_location import open_ledger
        from airflow_provider_capillary.operators.running_task import push_result
        from airflow_provider_capillary.operators.telemetry.assets import fill_events, report_facts
        from airflow_provider_capillary.reports.destination import publish_files, report_folder
        from airflow_provider_capillary.reports.error_report import write_error_report

        root = self.report_path or option("report_path") or f"file://{airflow_home() / DEFAULT_FOLDER}"
        given, without = job_ids_of(self.job)
        run = getattr(context.get("ti"), "run_id", None)
        if not given and run is None:
            raise AirflowSkipException("There is no job to report on, and no run in which to look for one.")
        with (
            closing(open_ledger(self.ledger_conn_id)) as ledger,
            tempfile.TemporaryDirectory(prefix="capillary-report-") as folder,
        ):
            imports = self._imports(context, ledger, given, without)
            report = write_error_report(ledger, imports.job_ids, Path(folder))
            uris = publish_files(report.files, report_folder(root, report.facts))
        # errors.csv -> errors_csv; in the order of the files
        files = {file.name.replace(".", "_"): uri for file, uri in zip(report.files, uris, strict=True)}
        self._log_result(report, files)
        total = report.facts.total
        counts = {
            "jobs": total.jobs,
            "rows_reported": total.problems.rows,
            **total.counts,
            "may_be_granted_twice": total.notes.may_be_granted_twice,
        }
        sources = tuple(source for job in report.facts.jobs for source in job.sources)
        self.work_done = WorkDone(inputs=sources, outputs=tuple(uris), report=counts)
        if all(job.dry_run for job in report.facts.jobs):
            # Airflow asks for the outlets when the task has ended. A new list: the old one is the DAG's.
            self.outlets = []
        fill_events(context, self.outlets, report_facts(report.facts, counts, files))
        result = {**files, **counts}
        if self.fail_with_import and (error := self._no_success(report, imports, files)) is not None:
            push_result(context, result)
            raise error
        return result

    def _imports(self, context: Context, ledger: Ledger, given: Sequence[str], without: int) -> Imports:
        """The jobs to report on.

        :raises AirflowSkipException: no import was to run, or it is not known which one was.
        """
        imports = imports_of(self, context, ledger, (given, without), self._import_tasks, self._wait)
        if imports.job_ids:
            return imports
        if imports.without_job and self.fail_with_import:
            raise BadgeTaskFailed(
                f"There is no report, for {', '.join(imports.without_job)} began no job: the ledger "
                f"{ledger.description} holds none of this run, so nothing was sent. See the log of that task"
            )
        raise AirflowSkipException("There is no job to report on: no import of this run began one.")

    def _no_success(self, report: ErrorReport, imports: Imports, files: Mapping[str, str]) -> AirflowException | None:
        """Why the task fails although the report is written, or ``None``."""
        jobs = report.facts.jobs
        faults = [f"{_task_name(job)} {job.failure} (job {job.job_id})" for job in jobs if job.failure is not None]
        faults += [f"{name} began no job, and sent nothing" for name in imports.without_job]
        faults += [f"the last try of {name} began no job; the job before it succeeded" for name in imports.began_none]
        if not faults:
            return None
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        message = (
            f"The report is written; an import is no success: {'; '.join(faults[:MOST_FAULTS])}{more}. "
            f"See {files['report_html']}"
        )
        if any(job.state == "open" for job in jobs):
            return BadgeTaskInterrupted(message)
        return BadgeTaskFailed(message)

    def _log_result(self, report: ErrorReport, files: Mapping[str, str]) -> None:
        total = report.facts.total
        rows = f"{total.problems.rows:,}"
        self.log.info("%s rows of %s jobs were not accepted: %s", rows, total.jobs, files["errors_csv"])
        self.log.info("To read: %s", files["report_html"])
        if total.notes.may_be_granted_twice:
            self.log.warning(
                "%s accepted rows may be granted twice: they were sent again without proof, as on_unknown='resend' "
                "asks. They are in %s",
                f"{total.notes.may_be_granted_twice:,}",
                files["may_be_granted_twice_csv"],
            )
        for job in report.facts.jobs:
            if job.counts is None:
                self.log.warning("Job %s has not come to an end; the report has what it recorded so far", job.job_id)
                continue
            for state, listed in job.problems.by_state.items():
                if listed != job.counts[state]:
                    self.log.warning(
                        "Job %s: the import counted %s rows as %s, the ledger lists %s of them one by one",
                        job.job_id,
                        job.counts[state],
                        state,
                        listed,
                    )


def _task_name(job: JobFacts) -> str:
    return job.task_id if job.map_index < 0 else f"{job.task_id}[{job.map_index}]"
