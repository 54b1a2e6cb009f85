"""The operator that imports earned badges from a dataset: none twice, none lost, no green task without proof."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_capillary.core.column_choice import column_choices
from airflow_provider_capillary.core.given_values import is_nothing, one_of
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.datasets.formats import read_options
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.hooks import DEFAULT_CONN_ID
from airflow_provider_capillary.hooks.errors import ChecksArguments
from airflow_provider_capillary.jobs.settings import DEFAULTS, ImportSettings, import_settings
from airflow_provider_capillary.operators.airflow_installation import RetryPolicy, retry_arguments
from airflow_provider_capillary.operators.report_link import BadgeImportLink
from airflow_provider_capillary.operators.retry import RETRY_POLICY
from airflow_provider_capillary.operators.telemetry.lineage import ReportsLineage

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_capillary.operators.import_task import ImportTask

__all__ = ["BadgeImportOperator"]


class _NotGiven(int):
    """The default batch size, told apart from the same number given: ``default_batch_size`` replaces only this one."""


class OnEmpty(StrEnum):
    """What the task does if the dataset has no rows."""

    SUCCEED = "succeed"
    SKIP = "skip"
    FAIL = "fail"


_OF_FILES = ("dataset_format", "csv_delimiter", "allow_cut_end")


class BadgeImportOperator(ReportsLineage, ChecksArguments):
    """Imports earned badges into Capillary, and records every row in a durable ledger.

    A retry goes on from where the last try ended; a clear, a later run or a backfill begins a new job on the same
    ledger. None of them sends again what was accepted. With ``on_unknown`` ``hold`` or ``verify`` this operator grants
    no row twice; the README says what it cannot prevent.

    The return value (XCom) is the summary: ``job_id, rows_read, accepted, already_accepted, rejected,
    invalid, unknown, not_sent, requests, batches, started_at, finished_at, reasons, ledger, complete`` (every
    row is accepted or already accepted) and ``assumed`` (format, delimiter, columns, files left out). Always
    ``rows_read == accepted + already_accepted + rejected + invalid + unknown + not_sent``. A failed task pushes it
    too, so that a report can follow. Rows are streamed; none is in XCom or in a log. While a job runs, its progress
    is in the task's state store under ``progress`` (Airflow 3.3).

    :param dataset: (templated) URI of a file or folder (Parquet, CSV and others) on any Airflow object storage,
        a list of URIs, what ``SqlToBadgeDatasetOperator`` returns, or a small list of dicts.
    :param capillary_conn_id: (templated) connection of type ``capillary``.
    :param ledger_conn_id: (templated) SQL connection of the ledger (PostgreSQL or SQLite). Default:
        ``[capillary] ledger_conn_id``, else a SQLite file under ``AIRFLOW_HOME``, for one machine only.
    :param field_mapping: (templated) API field -> dataset column, e.g. ``{"badgeMetaId": "badge_id"}``.
        Default: columns named as the API does, or in snake case, without regard to case, blanks and
        underscores. Two columns for one field are refused. Two instants (epoch and ISO) of a row must be equal.
    :param timezone: (templated) IANA name for timestamps without offset; without it they are invalid rows.
    :param batch_size: (templated) rows in a request.
    :param max_batch_bytes: most bytes in the body of a request.
    :param concurrency: most requests in flight; the rows of one customer are never in two of them.
    :param on_unknown: (templated) what to do with rows whose outcome is not proven: ``hold`` them, ``verify`` by
        reading back, or ``resend`` them (which may grant rows twice; the summary counts them).
    :param on_duplicate: (templated) ``skip``, ``fail`` or ``allow`` rows of the same badge, customer and
        earn date that were accepted already or stand twice in the dataset.
    :param once_per_customer: a customer gets a badge at most once, whatever the earn date.
    :param verify_after: seconds after a send before a read may prove that a badge is not there.
    :param max_rejected: (templated) rows, or a share such as ``"5%"``, that may be refused by the API or be
        invalid before the task fails (after all is sent and recorded).
    :param max_unknown: (templated) the same for rows that stay unknown.
    :param canary: send 1, 10, 100 rows first, and stop at once if a reply proves nothing.
    :param check_badges: look every badge up before anything is sent; rows of badges that do not exist are rejected.
    :param dry_run: (templated) validate and plan, send nothing.
    :param dataset_format: (templated) a format by its name, as ``csv``. Default: by the name, else the first bytes.
    :param csv_delimiter: (templated) one character, or ``tab``. Default: taken from the header.
    :param timestamp_unit: (templated) the unit of instants that are numbers, since 1970: ``s`` or ``ms``.
    :param on_empty: (templated) what the task does if the dataset has no rows: ``succeed``, ``skip`` or ``fail``.
    :param allow_cut_end: accept a CSV file whose last line has no line end although its last column is sent. Such a
        file is refused otherwise, because it may have been cut within that value.
    :param retry_policy: when to try again. Default (Airflow 3.3): after the time that the API asked for, else after
        ``retry_delay``. If a person must fix something first, the task is not tried again, whatever the policy says.
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
    checked = (*ImportSettings.__struct_fields__, *_OF_FILES, "on_empty")

    def __init__(
        self,
        *,
        dataset: Any,
        capillary_conn_id: str = DEFAULT_CONN_ID,
        ledger_conn_id: str | None = None,
        field_mapping: Mapping[str, str] | None = None,
        timezone: str | None = None,
        batch_size: int | str = _NotGiven(DEFAULTS.batch_size),
        max_batch_bytes: int = DEFAULTS.max_batch_bytes,
        concurrency: int = DEFAULTS.concurrency,
        on_unknown: str = DEFAULTS.on_unknown.value,
        on_duplicate: str = DEFAULTS.on_duplicate.value,
        once_per_customer: bool = DEFAULTS.once_per_customer,
        verify_after: float = DEFAULTS.verify_after,
        max_rejected: int | str = DEFAULTS.max_rejected.text,
        max_unknown: int | str = DEFAULTS.max_unknown.count or 0,
        canary: bool = DEFAULTS.canary,
        check_badges: bool = DEFAULTS.check_badges,
        dry_run: bool | str = DEFAULTS.dry_run,
        dataset_format: str | None = None,
        csv_delimiter: str | None = None,
        timestamp_unit: str = DEFAULTS.timestamp_unit.value,
        on_empty: str = OnEmpty.SUCCEED.value,
        allow_cut_end: bool = False,
        # An argument of its own, so that Airflow fills it from default_args, and uses it for mapped tasks too.
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs, **retry_arguments(retry_policy))
        self.dataset = dataset
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.field_mapping = field_mapping
        self.timezone = timezone
        # A plain int: the DAG processor serialises templated fields, and no other class of int passes.
        self.batch_size = int(batch_size) if isinstance(batch_size, _NotGiven) else batch_size
        self.batch_size_given = not isinstance(batch_size, _NotGiven)
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
        self._task: ImportTask | None = None
        self.check_known(vars(self))

    @classmethod
    def check(cls, known: Mapping[str, Any]) -> None:
        """Check what is known when the DAG file is parsed."""
        settings = import_settings(**{name: known[name] for name in ImportSettings.__struct_fields__ if name in known})
        named_zone(settings.timezone)
        column_choices(settings.field_mapping)
        read_options(**{name: known[name] for name in _OF_FILES if name in known})
        if "on_empty" in known:
            on_empty_of(known["on_empty"])

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job, or go on with it, and return the summary. A task that fails pushes the summary to XCom, too.

        :raises BadgeTaskFailed: a person must fix something first, or too many rows are refused or unknown.
        :raises BadgeTaskInterrupted: API or ledger cannot be reached, or another process has the job; try again.
        :raises AirflowSkipException: the dataset has no rows, and ``on_empty`` is ``skip``.
        """
        # Not imported with the DAG file: what an import needs takes a second and 40 MiB to load.
        from airflow_provider_capillary.operators.import_task import ImportTask

        self._task = ImportTask(self, context)
        return self._task.run()

    def on_kill(self) -> None:
        """Stop sending. Batches in flight are waited for, and their outcomes are recorded."""
        if self._task is not None:
            self._task.request_stop()


def on_empty_of(value: Any) -> OnEmpty:
    """Read ``on_empty``. A template that gives no value counts as if nothing were given.

    :raises ConfigurationError: the value is none of ``OnEmpty``; the message names them.
    """
    given = OnEmpty.SUCCEED if is_nothing(value) else value
    if given not in list(OnEmpty):
        raise ConfigurationError(f"on_empty is {value!r}; it may be {one_of(OnEmpty)}")
    return OnEmpty(given)
