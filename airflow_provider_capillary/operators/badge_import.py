"""Imports earned badges from a dataset: in batches, none twice, none lost, none green without proof."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_capillary.core.column_choice import FIELD_COLUMNS, column_choices, resolve_columns
from airflow_provider_capillary.core.given_values import is_known, is_nothing, one_of
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.datasets.base import Dataset
from airflow_provider_capillary.datasets.open_dataset import named, open_dataset
from airflow_provider_capillary.datasets.options import read_options
from airflow_provider_capillary.exceptions import (
    CapillaryError,
    ConfigurationError,
    DatasetError,
    ImportInterruptedError,
)
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.hooks.errors import as_airflow_error
from airflow_provider_capillary.jobs.import_job import ImportJob, ImportResult
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.settings import ImportSettings, import_settings
from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.operators.airflow_settings import SECTION, option
from airflow_provider_capillary.operators.airflow_versions import RetryPolicy, retry_arguments
from airflow_provider_capillary.operators.asset_event import warn_of_many_events
from airflow_provider_capillary.operators.earlier_jobs import connected
from airflow_provider_capillary.operators.end_of_log import counts_line, end_block, reason_line
from airflow_provider_capillary.operators.import_told import remember_begin, tell_end
from airflow_provider_capillary.operators.ledger_location import open_ledger
from airflow_provider_capillary.operators.lineage import TellsLineage
from airflow_provider_capillary.operators.live_progress import LiveProgress
from airflow_provider_capillary.operators.report_link import BadgeImportLink
from airflow_provider_capillary.operators.retry import RETRY_POLICY
from airflow_provider_capillary.operators.witness_variable import witness_of
from airflow_provider_capillary.operators.xcom import push_result

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_capillary.ledger.ledger import Ledger


class _NotGiven(int):
    """A default that can be told from the same number given: only for the first counts the configured default."""


class OnEmpty(StrEnum):
    """What the task does where the dataset has no rows."""

    SUCCEED = "succeed"
    SKIP = "skip"
    FAIL = "fail"


class BadgeImportOperator(TellsLineage, BaseOperator):
    """Imports earned badges into Capillary, row by row accounted for in a durable ledger.

    A retry goes on where the last try was cut off; a clear, a later run or a backfill begins a new job on
    the same ledger. None of them sends again what was accepted. With ``on_unknown`` ``hold`` or ``verify``
    no row is granted twice by this operator; what it cannot prevent is said in the README.

    The return value (XCom) is the summary: ``job_id, rows_read, accepted, already_accepted, rejected,
    invalid, unknown, not_sent, requests, batches, started_at, finished_at, reasons, ledger, complete`` (every
    row is accepted or already accepted) and ``assumed`` (format, delimiter, columns, files left out). Always
    ``rows_read == accepted + already_accepted + rejected + invalid + unknown + not_sent``. It is there for a
    failed task too, so that a report can follow. Rows are streamed, and never in XCom or a log. How far a
    running job is stands in the task's state store under ``progress`` (Airflow 3.3).

    :param dataset: (templated) URI of a Parquet, CSV or JSON Lines file or folder on any Airflow object
        storage, a list of URIs, what ``SqlToBadgeDatasetOperator`` returns, or a small list of dicts.
    :param capillary_conn_id: (templated) connection of type ``capillary``.
    :param ledger_conn_id: (templated) SQL connection of the ledger (PostgreSQL or SQLite). Default:
        ``[capillary] ledger_conn_id``, else a SQLite file under ``AIRFLOW_HOME``, for one machine only.
    :param field_mapping: (templated) API field -> dataset column, e.g. ``{"badgeMetaId": "badge_id"}``.
        Default: columns named as the API does, or in snake case, without regard to case, blanks and
        underscores. Two columns for one field are refused. Two instants (epoch and ISO) of a row must be equal.
    :param timezone: (templated) IANA name for timestamps without offset; without it they are invalid rows.
    :param batch_size: (templated) rows in a request.
    :param max_batch_bytes: bytes in a request.
    :param concurrency: requests in flight; the rows of one customer are never in two of them.
    :param on_unknown: (templated) what to do with rows whose outcome is not proven: ``hold`` them,
        ``verify`` by reading back, or ``resend`` them (may grant twice; the summary says how many).
    :param on_duplicate: (templated) ``skip``, ``fail`` or ``allow`` rows of the same badge, customer and
        earn date that were accepted already or stand twice in the dataset.
    :param once_per_customer: a customer gets a badge at most once, whatever the earn date.
    :param verify_after: seconds after a send before a read may be trusted to say that a badge is not there.
    :param max_rejected: (templated) rows, or a share such as ``"5%"``, that may be refused by the API or be
        invalid before the task fails (after all is sent and recorded).
    :param max_unknown: (templated) the same for rows that stay unknown.
    :param canary: send 1, 10, 100 rows first, and stop at once where a reply proves nothing.
    :param check_badges: look every badge up before anything is sent; rows of missing ones are rejected.
    :param dry_run: (templated) validate and plan, send nothing.
    :param dataset_format: (templated) ``parquet``, ``csv`` or ``jsonl``. Default: by the name, else by the first bytes.
    :param csv_delimiter: (templated) one character, or ``tab``. Default: taken from the header.
    :param timestamp_unit: (templated) of numbers in the dataset: ``s`` or ``ms``.
    :param on_empty: (templated) what the task does where the dataset has no rows: ``succeed``, ``skip`` or ``fail``.
    :param allow_cut_end: take a CSV file whose last line has no line end, although the last column is one that is
        sent: the file may have been cut within that value.
    :param retry_policy: when to try again. Default (Airflow 3.3): after the time that the API asked for, else
        after ``retry_delay``; not at all where a person must fix something first, which no policy can change.
    """

    template_fields: Sequence[str] = (
        "dataset",
        "capillary_conn_id",
        "ledger_conn_id",
        "field_mapping",
        "timezone",
        "batch_size",
        "on_unknown",
        "on_duplicate",
        "max_rejected",
        "max_unknown",
        "dry_run",
        "dataset_format",
        "csv_delimiter",
        "timestamp_unit",
        "on_empty",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"dataset": "json", "field_mapping": "json"}
    operator_extra_links: Collection[BaseOperatorLink] = (BadgeImportLink(),)
    ui_color = "#e3f2e1"

    def __init__(
        self,
        *,
        dataset: Any,
        capillary_conn_id: str = CapillaryBadgeHook.default_conn_name,
        ledger_conn_id: str | None = None,
        field_mapping: Mapping[str, str] | None = None,
        timezone: str | None = None,
        batch_size: int | str = _NotGiven(500),
        max_batch_bytes: int = 1_000_000,
        concurrency: int = 4,
        on_unknown: str = "verify",
        on_duplicate: str = "skip",
        once_per_customer: bool = False,
        verify_after: float = 60,
        max_rejected: int | str = "5%",
        max_unknown: int | str = 0,
        canary: bool = True,
        check_badges: bool = True,
        dry_run: bool | str = False,
        dataset_format: str | None = None,
        csv_delimiter: str | None = None,
        timestamp_unit: str = "s",
        on_empty: str = "succeed",
        allow_cut_end: bool = False,
        # named here, and not set below: so Airflow fills it from default_args, and knows it of mapped tasks too
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs, **retry_arguments(retry_policy))
        self.dataset = dataset
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.field_mapping = field_mapping
        self.timezone = timezone
        # A plain number: the DAG processor hands templated fields on in a format that knows no other kind of int.
        self.batch_size = int(batch_size) if isinstance(batch_size, _NotGiven) else batch_size
        self._batch_size_given = not isinstance(batch_size, _NotGiven)
        self.max_batch_bytes = max_batch_bytes
        self.concurrency = concurrency
        self.on_unknown = on_unknown
        self.on_duplicate = on_duplicate
        self.once_per_customer = once_per_customer
        self.verify_after = verify_after
        self.max_rejected = max_rejected
        self.max_unknown = max_unknown
        self.canary = canary
        self.check_badges = check_badges
        self.dry_run = dry_run  # type: ignore[assignment,method-assign] # hides BaseOperator.dry_run, a printer of templates
        self.dataset_format = dataset_format
        self.csv_delimiter = csv_delimiter
        self.timestamp_unit = timestamp_unit
        self.on_empty = on_empty
        self.allow_cut_end = allow_cut_end
        self._stop: StopSignal | None = None
        self._assumed: dict[str, Any] = {}
        check_known({name: getattr(self, name) for name in (*ImportSettings.__struct_fields__, *_OF_FILES, "on_empty")})

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job, or go on with it; give the summary, or fail with it in XCom."""
        warn_of_many_events(context["ti"], self.outlets)
        try:
            with LiveProgress(context) as progress:
                result = self._import(context, progress)
        except CapillaryError as error:
            raise as_airflow_error(error) from error
        for line in end_block(result):
            self.log.info("%s", line)
        summary = result.summary.as_dict() | {"complete": result.summary.is_complete, "assumed": self._assumed}
        if result.error is None and (result.summary.rows_read or on_empty_of(self.on_empty) is not OnEmpty.SKIP):
            return summary
        push_result(context, summary)  # the report that follows needs to know which job it was
        if result.error is None:
            raise AirflowSkipException("The dataset has no rows, and on_empty is 'skip'.")
        raise as_airflow_error(result.error, _failure(result)) from result.error

    def on_kill(self) -> None:
        """Stop sending; batches in flight end and are recorded."""
        if self._stop is not None:
            self._stop.request(ImportInterruptedError("the task was told to stop; a later try goes on from here"))

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map over what ``expand`` gives; what is known here and wrong fails here, not when the first task begins.

        :raises BadgeTaskFailed: names the parameter and what it may be.
        """
        check_known(kwargs)
        return super().partial(**kwargs)

    def _import(self, context: Context, progress: LiveProgress) -> ImportResult:
        settings = self._settings()
        if settings.dry_run:
            self.outlets = []  # nothing is granted, so no event tells of it; a new list, as the old one is the DAG's
        refuse_text_of_something_else(self.dataset)
        columns = column_choices(settings.field_mapping)
        options = read_options(self.dataset_format, self.csv_delimiter, allow_cut_end=self.allow_cut_end)
        self._stop = StopSignal()
        with closing(open_dataset(self.dataset, required_columns=columns, options=options)) as dataset:
            hook = connected(self.capillary_conn_id)
            with closing(hook.get_conn()) as client, closing(open_ledger(self.ledger_conn_id)) as ledger:
                organisation = Organisation(client, hook.organisation, hook.requests_per_minute)
                self._warn_of_replicas(ledger)
                scope = scope_of(context)
                self.work_done = remember_begin(named(self.dataset), client.settings.base_url, dry_run=settings.dry_run)
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
        self.work_done = tell_end(context, hook, self.outlets, result, self.work_done, sources)
        return result

    def _warn_of_replicas(self, ledger: Ledger) -> None:
        if replicas := ledger.unguarded_replicas():
            self.log.warning(
                "The ledger's PostgreSQL has %d replicas and no synchronous_standby_names: a failover may lose what "
                "was committed last, and badges would be granted again. Name a synchronous standby",
                replicas,
            )

    def _look_at(self, dataset: Dataset, choices: Sequence[tuple[str, ...]]) -> None:
        """Note what is taken for granted, and refuse a dataset without rows before a job begins where that is asked."""
        facts, on_empty = dataset.inspect(), on_empty_of(self.on_empty)
        chosen = msgspec.structs.astuple(resolve_columns(choices, facts.columns)) if facts.columns else ()
        fields = (*FIELD_COLUMNS, *list(FIELD_COLUMNS)[2:])
        columns: dict[str, list[str]] = {}
        for field, column in zip(fields, chosen, strict=False):
            if column is not None:
                columns.setdefault(field, []).append(column)
        self._assumed = facts.assumed | {"columns": {field: " and ".join(names) for field, names in columns.items()}}
        if facts.rows:
            return
        if on_empty is OnEmpty.FAIL:
            raise DatasetError(
                "The dataset has no rows, and on_empty is 'fail'. See to the task that gives it, or set "
                "on_empty='succeed' or 'skip'."
            )
        self._assumed["on_empty"] = on_empty.value
        self.log.info("The dataset has no rows: on_empty is %r.", on_empty.value)

    def _settings(self) -> ImportSettings:
        chosen = self._batch_size_given and not is_nothing(self.batch_size)
        arguments = self._arguments()
        settings = import_settings(**arguments if chosen else {**arguments, "batch_size": _configured()})
        named_zone(settings.timezone)
        on_empty_of(self.on_empty)
        return settings

    def _arguments(self) -> dict[str, Any]:
        """The parameters that are settings of a job, as they are now."""
        return {name: getattr(self, name) for name in ImportSettings.__struct_fields__}


_OF_FILES = ("dataset_format", "csv_delimiter", "allow_cut_end")


def check_known(arguments: Mapping[str, Any]) -> None:
    """Refuse what is wrong whatever the templates give, so that the DAG file fails, and no task in the night.

    :param arguments: of the operator, some or all; others are not looked at.
    :raises BadgeTaskFailed: names the parameter and what it may be.
    """
    known = {name: value for name, value in arguments.items() if is_known(value)}
    try:
        settings = import_settings(**{name: known[name] for name in ImportSettings.__struct_fields__ if name in known})
        named_zone(settings.timezone)
        column_choices(settings.field_mapping)
        read_options(**{name: known[name] for name in _OF_FILES if name in known})
        if "on_empty" in known:
            on_empty_of(known["on_empty"])
    except CapillaryError as error:
        raise as_airflow_error(error) from error


def _configured() -> int:
    text = option("default_batch_size") or "500"
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"[{SECTION}] default_batch_size is {text!r}, which is no whole number") from None


def on_empty_of(value: Any) -> OnEmpty:
    """What to do where there are no rows; a template without a value is as not given.

    :raises ConfigurationError: names what it may be.
    """
    given = OnEmpty.SUCCEED if is_nothing(value) else value
    if given not in list(OnEmpty):
        raise ConfigurationError(f"on_empty is {value!r}; it may be {one_of(OnEmpty)}")
    return OnEmpty(given)


def refuse_text_of_something_else(dataset: Any) -> None:
    """Templates render to text: one without a value to ``None``, one of a dict to what Python prints of it."""
    if dataset is None or (isinstance(dataset, str) and dataset.strip() in ("", "None")):
        raise ConfigurationError("dataset is None: the task that was to give it returned nothing")
    if isinstance(dataset, str) and dataset.lstrip()[:1] in ("{", "["):
        raise ConfigurationError(
            "dataset is the text of a dict or a list. Give the value itself, such as dataset=extract.output, "
            "or set render_template_as_native_obj=True"
        )


def scope_of(context: Context) -> JobScope:
    """Whose job it is."""
    ti = context["ti"]
    return JobScope(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=getattr(ti, "map_index", -1),
        max_tries=ti.max_tries,
    )


def _failure(result: ImportResult) -> str:
    summary = result.summary
    reasons = "; ".join(map(reason_line, summary.reasons[:3]))
    return (
        f"{result.error}. {counts_line(summary)}. Top reasons: {reasons or 'none'}. "
        f"Every row that was not accepted, with its reason: BadgeErrorReportOperator of job {summary.job_id}"
    )
