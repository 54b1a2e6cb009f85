"""Runs one try of an import task: makes a job of the rendered arguments of ``BadgeImportOperator``, and runs it.

At its end it says in the log, and in the error of a failed task, what became of the rows and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_capillary.core import reasons
from airflow_provider_capillary.core.column_choice import FIELD_COLUMNS, column_choices, resolve_columns
from airflow_provider_capillary.core.given_values import is_nothing
from airflow_provider_capillary.core.reason_table import STATES
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES, Reason, Summary
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.datasets.base import Dataset
from airflow_provider_capillary.datasets.formats import read_options
from airflow_provider_capillary.datasets.locations import named
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import (
    CapillaryError,
    ConfigurationError,
    DatasetError,
    ImportInterruptedError,
)
from airflow_provider_capillary.hooks.errors import as_airflow_error, errors_logged
from airflow_provider_capillary.hooks.hook_lineage import collect_lineage, uris_of
from airflow_provider_capillary.jobs.import_job import ImportJob, ImportResult
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.settings import DEFAULTS, ImportSettings, import_settings
from airflow_provider_capillary.operators.airflow_installation import SECTION, option
from airflow_provider_capillary.operators.badge_import import OnEmpty, on_empty_of
from airflow_provider_capillary.operators.ledger_location import open_ledger
from airflow_provider_capillary.operators.live_progress import LiveProgress
from airflow_provider_capillary.operators.running_task import (
    connected,
    push_result,
    refuse_text_of_something_else,
    scope_of,
)
from airflow_provider_capillary.operators.telemetry.assets import (
    badge_asset_uri,
    fill_events,
    import_facts,
    warn_of_many_events,
)
from airflow_provider_capillary.operators.telemetry.lineage import WorkDone
from airflow_provider_capillary.operators.telemetry.metrics import count_import
from airflow_provider_capillary.operators.witness_variable import witness_of

if TYPE_CHECKING:
    from airflow.sdk import BaseHook, Context

    from airflow_provider_capillary.ledger.ledger import Ledger
    from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

MOST_REASONS = 5  #: at the end of the log


class ImportTask:
    """One try of an operator's task."""

    def __init__(self, operator: BadgeImportOperator, context: Context) -> None:
        self._operator = operator
        self._context = context
        self._log = operator.log
        self._stop = StopSignal()
        self._assumed: dict[str, Any] = {}

    def request_stop(self) -> None:
        """Stop sending. Batches in flight are waited for and recorded. A signal handler may call this."""
        self._stop.request(ImportInterruptedError("the task was asked to stop; a later try goes on from here"))

    def run(self) -> dict[str, Any]:
        """Run the job, or go on with it. It returns and raises what ``BadgeImportOperator.execute`` does."""
        warn_of_many_events(self._context["ti"], self._operator.outlets)
        try:
            with LiveProgress(self._context) as progress:
                result = self._import(progress)
        except CapillaryError as error:
            raise as_airflow_error(error) from error
        for line in end_block(result):
            self._log.info("%s", line)
        summary = result.summary.as_dict() | {"complete": result.summary.is_complete, "assumed": self._assumed}
        if result.error is None and (result.summary.rows_read or self._on_empty is not OnEmpty.SKIP):
            return summary
        push_result(self._context, summary)  # the report that follows needs the id of the job
        if result.error is None:
            raise AirflowSkipException("The dataset has no rows, and on_empty is 'skip'.")
        raise as_airflow_error(result.error, failure_text(result)) from result.error

    @property
    def _on_empty(self) -> OnEmpty:
        return on_empty_of(self._operator.on_empty)

    def _import(self, progress: LiveProgress) -> ImportResult:
        task, settings = self._operator, self._settings()
        if settings.dry_run:
            task.outlets = []  # nothing is granted, so there is no event. A new list, because the old one is the DAG's
        refuse_text_of_something_else(task.dataset)
        columns = column_choices(settings.field_mapping)
        options = read_options(task.dataset_format, task.csv_delimiter, allow_cut_end=task.allow_cut_end)
        with closing(open_dataset(task.dataset, required_columns=columns, options=options)) as dataset:
            hook = connected(task.capillary_conn_id)
            with closing(hook.get_conn()) as client, closing(open_ledger(task.ledger_conn_id)) as ledger:
                organisation = Organisation(client, hook.organisation, hook.requests_per_minute)
                self._warn_of_replicas(ledger)
                scope = scope_of(self._context)
                task.work_done = _work_begun(named(task.dataset), client.settings.base_url, dry_run=settings.dry_run)
                self._look_at(dataset, columns)
                result = ImportJob(
                    dataset,
                    organisation,
                    ledger,
                    scope,
                    settings,
                    stop=self._stop,
                    on_progress=progress.show,
                    witness=witness_of(ledger, hook.organisation),
                ).run()
            sources = dataset.inspect().sources
        task.work_done = _report_end(self._context, hook, task.outlets, result, task.work_done, sources)
        return result

    def _warn_of_replicas(self, ledger: Ledger) -> None:
        if replicas := ledger.unguarded_replicas():
            self._log.warning(
                "The ledger's PostgreSQL has %d replicas and no synchronous_standby_names: a failover may lose what "
                "was committed last, and badges would be granted again. Name a synchronous standby",
                replicas,
            )

    def _look_at(self, dataset: Dataset, choices: Sequence[tuple[str, ...]]) -> None:
        """Collect what is assumed of the dataset. If it has no rows and ``on_empty`` is ``fail``, refuse it.

        :raises DatasetError: the dataset has no rows, and ``on_empty`` is ``fail``.
        """
        facts = dataset.inspect()
        chosen = msgspec.structs.astuple(resolve_columns(choices, facts.columns)) if facts.columns else ()
        fields = (*FIELD_COLUMNS, *list(FIELD_COLUMNS)[2:])
        columns: dict[str, list[str]] = {}
        for field, column in zip(fields, chosen, strict=False):
            if column is not None:
                columns.setdefault(field, []).append(column)
        self._assumed = facts.assumed | {"columns": {field: " and ".join(names) for field, names in columns.items()}}
        if facts.rows:
            return
        if self._on_empty is OnEmpty.FAIL:
            raise DatasetError(
                "The dataset has no rows, and on_empty is 'fail'. See to the task that gives it, or set "
                "on_empty='succeed' or 'skip'."
            )
        self._assumed["on_empty"] = self._on_empty.value
        self._log.info("The dataset has no rows: on_empty is %r.", self._on_empty.value)

    def _settings(self) -> ImportSettings:
        task = self._operator
        arguments = {name: getattr(task, name) for name in ImportSettings.__struct_fields__}
        if not task.batch_size_given or is_nothing(task.batch_size):
            arguments["batch_size"] = _configured_batch_size()
        settings = import_settings(**arguments)
        named_zone(settings.timezone)
        on_empty_of(task.on_empty)
        return settings


@errors_logged
def _work_begun(dataset: Any, api_url: str, *, dry_run: bool) -> WorkDone:
    """What lineage reports if the import breaks off: where it reads, and where it may have written."""
    return WorkDone(inputs=uris_of(dataset), outputs=() if dry_run else (badge_asset_uri(api_url),))


@errors_logged
def _report_end(
    context: Context,
    hook: BaseHook,
    outlets: Iterable[Any],
    result: ImportResult,
    begun: WorkDone | None,
    sources: Iterable[str],
) -> WorkDone:
    """Report how the import ended to metrics, lineage and outlets.

    :param begun: what was kept for lineage when the import began.
    :param sources: the files that were read.
    :return: what OpenLineage is given.
    """
    summary, ti = result.summary, context["ti"]
    outputs = begun.outputs if begun else ()
    done = WorkDone(tuple(sources), outputs, summary.accepted if outputs else None, summary)
    count_import(ti, summary, result.error, result.seconds)
    collect_lineage(hook, inputs=done.inputs, outputs=done.outputs)
    fill_events(context, outlets, import_facts(summary, done.inputs, getattr(ti, "map_index", -1)))
    return done


def _configured_batch_size() -> int:
    text = option("default_batch_size")
    if not text:
        return DEFAULTS.batch_size
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"[{SECTION}] default_batch_size is {text!r}, which is no whole number") from None


def end_block(result: ImportResult) -> Iterator[str]:
    """The last lines of the log of an import that has counted all of its rows."""
    summary = result.summary
    yield f"Job {summary.job_id}"
    yield f"Dry run, nothing was sent. {counts_line(summary)}" if summary.dry_run else counts_line(summary)
    if not summary.rows_read:
        yield "The dataset has no rows. If that is not right, look at the task that made it; on_empty='fail' or 'skip'"
        yield "  lets this task say so by its state."
    for reason in summary.reasons[:MOST_REASONS]:
        yield f"  {reason_line(reason)} [{reasons.names(reason.stage, reason.code, reason.message)}]"
    refused = summary.rejected + summary.invalid
    left = refused + summary.unknown + (0 if summary.dry_run else summary.not_sent)
    if not left:
        return
    if result.error is None:
        rows = "1 row is" if left == 1 else f"{left:,} rows are"
        yield f"The task succeeds within its budgets, but {rows} to be looked at."
    if refused:
        yield f"What to do: {STATES[RowState.REJECTED].in_log}"
    if summary.unknown:
        yield f"What to do: {STATES[RowState.UNKNOWN].in_log.format(job=summary.job_id)}"
    if summary.not_sent and not summary.dry_run:
        yield f"What to do: {STATES[RowState.NOT_SENT].in_log}"
    yield "Where to look: the tab Badge import of this task (also Browse > Badge imports): rows, errors.csv, report;"
    yield f"  by command: airflow capillary errors {summary.job_id} --output errors.csv"
    if summary.reasons:
        names = reasons.names(summary.reasons[0].stage, summary.reasons[0].code, summary.reasons[0].message)
        yield f"What a name in brackets means, and what to do: airflow capillary explain {names.replace(',', '')}"


def failure_text(result: ImportResult) -> str:
    """Why the task fails, in one line: counts, the first reasons, where to look."""
    summary = result.summary
    top = "; ".join(map(reason_line, summary.reasons[:3]))
    return (
        f"{result.error}. {counts_line(summary)}. Top reasons: {top or 'none'}. "
        "Every row that was not accepted, with its reason: report and errors.csv in the tab Badge import of this task, "
        f"job {summary.job_id}"
    )


def counts_line(summary: Summary) -> str:
    """How many rows ended in which state."""
    counts = ", ".join(f"{getattr(summary, state.value):,} {state.value.replace('_', ' ')}" for state in FINAL_STATES)
    return f"{summary.rows_read:,} rows read: {counts}; {summary.requests:,} requests"


def reason_line(reason: Reason) -> str:
    """One reason with its count."""
    code = f" {reason.code}" if reason.code is not None else ""
    return f"{reason.rows:,} x {reason.stage}{code}: {reason.message}"
