"""The operator that records what was granted outside the ledger, so that no import grants it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_capillary.core.budget import parse_budget
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.datasets.formats import read_options
from airflow_provider_capillary.hooks import DEFAULT_CONN_ID
from airflow_provider_capillary.hooks.errors import ChecksArguments
from airflow_provider_capillary.jobs.settings import DEFAULTS, import_settings
from airflow_provider_capillary.operators.airflow_installation import RetryPolicy, retry_arguments
from airflow_provider_capillary.operators.earlier_jobs import WorksOnEarlierJobs
from airflow_provider_capillary.operators.retry import RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_capillary.jobs.pacing import StopSignal
    from airflow_provider_capillary.jobs.seed import Seeded

__all__ = ["BadgeSeedOperator"]

_SETTINGS = ("field_mapping", "timezone", "timestamp_unit", "dry_run")
_OF_FILES = ("dataset_format", "csv_delimiter")


class BadgeSeedOperator(ChecksArguments, WorksOnEarlierJobs):
    """Records rows as granted outside this ledger, and sends nothing.

    It is for organisations that another tool served until now, and for a ledger that was lost: give an export of what
    the customers hold. The rows are accepted from then on, with the proof ``seed``, and with who said so and when. An
    import of the same rows sends nothing: they are ``already_accepted``. Repeating a seed changes nothing.

    A row is identified by its badge, its customer and its earn instant; the expiry is not read and may be missing. If
    there is a column of ids, they are kept, so that ``BadgeRevokeOperator`` of this job could take these badges back
    from the customers. Two equal rows with different ids are two grants.

    Rows that an import left unknown, and rows that were refused, are accepted from then on too. Rows that were revoked
    stay revoked. Rows that a running import has just sent are not changed, and the task fails so that it is retried.
    If more rows are invalid than ``max_invalid`` allows, nothing is recorded.

    **A seed makes Airflow accept the ledger.** It can be given to a ledger that is new, or another or older one than
    Airflow expects. Once rows are recorded, imports of the organisation go on with this ledger, and grant again what
    neither the dataset nor the ledger holds. So give all that was granted, not a part. A dry run, and a seed that
    records nothing, change nothing here.

    :param dataset: (templated) as of ``BadgeImportOperator``: a file or folder, or a small list of dicts.
    :param capillary_conn_id: (templated) the connection that names the organisation; the API is not called.
    :param ledger_conn_id: (templated) the same as the import's.
    :param field_mapping: (templated) API field -> dataset column, as of the import; ``earnedBadgeId`` names the
        column of the ids, by default ``earnedBadgeId``, ``earned_badge_id``, ``earnId`` or ``earn_id``. If the earn
        instant of an export has another name: ``{"earnEventDate": "earnedOn"}``.
    :param timezone: (templated) IANA name for timestamps without offset; without it they are invalid rows.
    :param dataset_format: (templated) a format by its name, as ``csv``. Default: by the name, else the first bytes.
    :param csv_delimiter: (templated) one character, or ``tab``. Default: taken from the header.
    :param timestamp_unit: (templated) the unit of instants that are numbers, since 1970: ``s`` or ``ms``.
    :param max_invalid: (templated) rows, or a share such as ``"1%"``, that may be invalid. An import grants again the
        rows that are left out here.
    :param dry_run: (templated) check and count, record nothing.
    :param retry_policy: as of ``BadgeImportOperator``.
    :return: the summary of a job, as an import gives it, and besides ``seeded`` (of which ``settled`` had no proof
        until now), ``already_held`` (of which ``repeated`` say again what another row of the dataset says),
        ``in_flight``, ``not_seeded`` and ``assumed``. Always ``rows_read == seeded + already_held + in_flight +
        invalid + not_seeded``. Also in XCom of a task that fails.
    """

    template_fields: Sequence[str] = (
        "dataset",
        "capillary_conn_id",
        "ledger_conn_id",
        "field_mapping",
        "timezone",
        "dataset_format",
        "csv_delimiter",
        "timestamp_unit",
        "max_invalid",
        "dry_run",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"dataset": "json", "field_mapping": "json"}
    ui_color = "#e2e8f6"
    checked = (*_SETTINGS, *_OF_FILES, "max_invalid")

    def __init__(
        self,
        *,
        dataset: Any,
        capillary_conn_id: str = DEFAULT_CONN_ID,
        ledger_conn_id: str | None = None,
        field_mapping: Mapping[str, str] | None = None,
        timezone: str | None = None,
        dataset_format: str | None = None,
        csv_delimiter: str | None = None,
        timestamp_unit: str = DEFAULTS.timestamp_unit.value,
        max_invalid: int | str = 0,
        dry_run: bool | str = False,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs, **retry_arguments(retry_policy))
        self.dataset = dataset
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.field_mapping = field_mapping
        self.timezone = timezone
        self.dataset_format = dataset_format
        self.csv_delimiter = csv_delimiter
        self.timestamp_unit = timestamp_unit
        self.max_invalid = max_invalid
        self.dry_run = dry_run  # type: ignore[assignment,method-assign] # hides BaseOperator.dry_run, a printer of templates
        self.check_known(vars(self))

    @classmethod
    def check(cls, known: Mapping[str, Any]) -> None:
        """Check what is known when the DAG file is parsed."""
        settings = import_settings(**{name: known[name] for name in _SETTINGS if name in known})
        named_zone(settings.timezone)
        if settings.field_mapping:
            from airflow_provider_capillary.core.seeding import seed_choices  # loads pyarrow

            seed_choices(settings.field_mapping)
        parse_budget("max_invalid", known.get("max_invalid", 0))
        read_options(**{name: known[name] for name in _OF_FILES if name in known})

    def _work(self, context: Context, stop: StopSignal) -> Seeded:
        from airflow_provider_capillary.core.seeding import seed_choices
        from airflow_provider_capillary.datasets.open_dataset import open_dataset
        from airflow_provider_capillary.jobs.seed import SeedJob, seed_settings
        from airflow_provider_capillary.operators.ledger_location import open_ledger
        from airflow_provider_capillary.operators.running_task import (
            connected,
            refuse_text_of_something_else,
            scope_of,
            whose_word,
        )
        from airflow_provider_capillary.operators.witness_variable import witness_of

        settings = seed_settings(
            field_mapping=self.field_mapping,
            timezone=self.timezone,
            timestamp_unit=self.timestamp_unit,
            max_invalid=self.max_invalid,
            dry_run=self.dry_run,
        )
        refuse_text_of_something_else(self.dataset)
        required = seed_choices(settings.field_mapping).required
        options = read_options(self.dataset_format, self.csv_delimiter)
        with closing(open_dataset(self.dataset, required_columns=required, options=options)) as dataset:
            hook = connected(self.capillary_conn_id)
            host = hook.settings.client.base_url
            with closing(open_ledger(self.ledger_conn_id)) as ledger:
                job = SeedJob(
                    dataset,
                    hook.organisation,
                    host,
                    ledger,
                    scope_of(context),
                    settings,
                    by=whose_word(context),
                    witness=witness_of(ledger, hook.organisation),
                    stop=stop,
                )
                result = job.run()
        self.log.info(
            "%s rows read: %s seeded, %s already held, %s invalid; nothing was sent; job %s",
            f"{result.summary.rows_read:,}",
            f"{result.seeded:,}",
            f"{result.already_held:,}",
            f"{result.summary.invalid:,}",
            result.summary.job_id,
        )
        return result
