"""From any SQL database to a dataset for the badge import: streamed, typed by its values, published at once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_capillary.core.column_choice import fitting_columns
from airflow_provider_capillary.core.given_values import is_nothing, shown
from airflow_provider_capillary.datasets.locations import check_place, named
from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError
from airflow_provider_capillary.hooks.errors import ChecksArguments, as_airflow_error
from airflow_provider_capillary.transfers.extract_output import ExtractOutput

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Connection, Context

    from airflow_provider_capillary.transfers.part_writer import PartWriter
    from airflow_provider_capillary.transfers.query_result import Query, Rows

__all__ = ["SqlToBadgeDatasetOperator"]

MOST_PARTITIONS = 1_024  #: as many task instances as Airflow maps over by default
MOST_FETCHED = 1_000_000  #: rows at a time
CALM_SECONDS = 10.0  #: between two lines of progress
#: What to use where a connection's own type has a hook that is not for SQL.
_OTHER_TYPES = {
    "google_cloud_platform": (
        " For BigQuery, create a connection of type 'gcpbigquery' with the same extra, and set "
        "hook_params={'use_legacy_sql': False, 'location': 'EU'}, with your location."
    ),
    "aws": " For Athena or Redshift, create a connection of type 'athena' or 'redshift'.",
}
_CUSTOMER_COLUMNS = ("customerId", "customer_id")


class SqlToBadgeDatasetOperator(ChecksArguments):
    """Writes the result of one query to Parquet parts that ``BadgeImportOperator`` reads.

    The result is streamed to the worker's disk (``TMPDIR``) and from there to ``dataset_path``: neither rows nor
    parts are held in memory or travel through XCom. A try that fails, or is killed at any instant, leaves what lay at
    ``dataset_path`` before; the next one writes the same place. Names of parts follow their content: the same result
    gives the same parts, another result never overwrites a part that an import may be reading. Give the query an
    ``ORDER BY`` if a cleared task shall write the same bytes. Types follow the values of the whole result and no value
    is ever changed: a column of numbers and text, or of datetimes with a zone and without, is refused (cast it in the
    SQL). The rules are in ``airflow_provider_capillary.transfers.column_types``.

    Memory stays flat only where the driver streams. On PostgreSQL (psycopg 2 and 3) the rows come through a cursor
    on the server; SQLite and DuckDB stream anyway. MySQL drivers hold the whole result unless the connection's
    extra asks for ``sscursor``.

    :param sql: one query, or the name of a ``.sql`` file (templated)
    :param conn_id: any connection whose hook is a ``DbApiHook`` (templated)
    :param dataset_path: URI of the folder to write, ``file://`` or any object storage; its own folder, as what an
        earlier try has written there is replaced (templated, as in ``s3://lake@bucket/badges/{{ ds_nodash }}``)
    :param partitions: how many parts to write, 1 to 1,024, always all of them, for ``.expand(dataset=...)``
        (templated). About 200 KiB of memory each
    :param parameters: bound to the query by the driver, never formatted into it, and never logged (templated). A list
        for placeholders by position, a dict for named ones, written as the driver wants them: ``%s`` and ``%(name)s``
        for PostgreSQL and MySQL, where with parameters every other ``%`` is doubled; ``?``, ``?1`` and ``:name`` for
        SQLite; ``?``, ``$1`` and ``$name`` for DuckDB. BigQuery's hook writes them into the SQL, and Databricks' logs
        them, whatever is asked of it: ``docs/extraction.md``
    :param partition_by: the column whose equal values land in the same part; default ``customerId`` or
        ``customer_id``, whatever its case, blanks and underscores. Needed with more than one partition, as the API
        must not get rows of one customer at once (templated)
    :param fetch_size: rows fetched at a time; less of them where a row has many kilobytes
    :param server_side_cursor: on PostgreSQL, stream from the server; turn it off for a statement that cannot be
        declared as a cursor (a ``CALL``, or ``INSERT ... RETURNING``): its whole result is then held in memory
    :param hook_params: arguments for the connection's hook, as ``SQLExecuteQueryOperator`` has them, such as
        ``{"use_legacy_sql": False}`` for BigQuery (templated)
    :return: ``{"uri", "parts": [...], "rows", "columns"}``; ``.expand(dataset=extract.output["parts"])`` works, by
        way of a small task ``<task_id>_parts`` that appears in the DAG
    """

    template_fields: Sequence[str] = (
        "sql",
        "conn_id",
        "dataset_path",
        "partitions",
        "parameters",
        "partition_by",
        "hook_params",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json", "hook_params": "json"}
    ui_color = "#e8f1e4"
    checked = (*template_fields, "fetch_size", "server_side_cursor")

    def __init__(
        self,
        *,
        sql: str,
        conn_id: str,
        dataset_path: str,
        partitions: int = 1,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        partition_by: str | None = None,
        fetch_size: int = 10_000,
        server_side_cursor: bool = True,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.dataset_path = named(dataset_path)
        self.partitions = partitions
        self.parameters = parameters
        self.partition_by = partition_by
        self.fetch_size = fetch_size
        self.server_side_cursor = server_side_cursor
        self.hook_params = hook_params
        self.check_known(vars(self))

    @classmethod
    def check(cls, known: Mapping[str, Any]) -> None:
        """Check what is known when the DAG file is parsed."""
        for name, value in known.items():
            _CHECKS[name](value)

    @property
    def output(self) -> ExtractOutput:
        """What the task returns; single values by name, as in ``output["parts"]``."""
        return ExtractOutput(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the query, write the parts, publish them; return where they lie.

        :raises BadgeTaskFailed: the connection is not for a SQL database, an argument is wrong, the target folder
            holds other files, or a column of the result has values for which no type is safe
        :raises BadgeTaskInterrupted: the object storage is out of reach, or the disk is full; try again. What the
            database itself raises comes as it is, and Airflow tries again
        """
        try:
            return self._extract()
        except CapillaryError as error:
            raise as_airflow_error(error) from error

    def _extract(self) -> dict[str, Any]:
        # Not with the DAG file: the database's library and pyarrow take their time to load.
        from airflow_provider_capillary.datasets.storage import room_on_disk
        from airflow_provider_capillary.hooks.hook_lineage import collect_lineage
        from airflow_provider_capillary.transfers.publish import check_target, publish

        for name, check in _CHECKS.items():
            check(getattr(self, name))
        partitions, query = int(self.partitions), self._query()
        hook = self._hook()
        check_target(self.dataset_path)
        with (
            room_on_disk(f"Extract of {self.conn_id!r}"),
            tempfile.TemporaryDirectory(prefix="capillary-extract-") as folder,
        ):
            writer = self._written(hook, query, Path(folder), partitions)
            parts = publish(writer.finish(), self.dataset_path, writer.rows)
        collect_lineage(hook, outputs=parts)
        self.log.info("Wrote %s rows in %s parts to %s", f"{writer.rows:,}", len(parts), self.dataset_path)
        return {"uri": self.dataset_path, "parts": parts, "rows": writer.rows, "columns": list(writer.columns)}

    def _query(self) -> Query:
        from airflow_provider_capillary.transfers.query_result import Query

        return Query(self.sql, self.parameters, int(self.fetch_size), self.server_side_cursor)

    def _hook(self) -> DbApiHook:
        from airflow.providers.common.sql.hooks.sql import DbApiHook

        try:
            connection = BaseHook.get_connection(self.conn_id)
        except AirflowNotFoundException as error:
            raise ConfigurationError(
                f"There is no connection {self.conn_id!r}. Create it, or correct conn_id"
            ) from error
        hook = _hook_of(connection, self.hook_params)
        if not isinstance(hook, DbApiHook):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} is of type {connection.conn_type!r}, which is for no SQL database: its "
                f"hook {type(hook).__name__} is no DbApiHook.{_OTHER_TYPES.get(connection.conn_type or '', '')}"
            )
        hook.log_sql = False  # it would log the parameters, which may be personal
        return hook

    def _written(self, hook: DbApiHook, query: Query, folder: Path, partitions: int) -> PartWriter:
        from airflow_provider_capillary.transfers.part_writer import PartWriter
        from airflow_provider_capillary.transfers.query_result import read_result

        written: list[PartWriter] = []

        def write(columns: tuple[str, ...], shares: Iterator[Rows]) -> None:
            writer = PartWriter(folder, columns, partitions, self._customer_column(columns, partitions))
            progress = _Progress(self.log, time.monotonic)
            for rows in shares:
                writer.write(rows)
                progress.log(writer.rows)
            written.append(writer)

        read_result(hook, query, write)
        return written[0]

    def _customer_column(self, columns: Sequence[str], partitions: int) -> str | None:
        if partitions == 1:
            return None
        accepted = (self.partition_by,) if self.partition_by else _CUSTOMER_COLUMNS
        found = fitting_columns(accepted, columns)
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigurationError(
                f"The query gives {len(found)} columns of the customer, {', '.join(map(repr, found))}. Name the one to "
                "divide the rows by in partition_by."
            )
        raise ConfigurationError(
            f"No column {' or '.join(map(repr, accepted))} to divide the rows by; the query gives "
            f"{', '.join(map(repr, columns))}. Name the column of the customer in partition_by."
        )


def _hook_of(connection: Connection, hook_params: Any) -> Any:
    if is_nothing(hook_params):
        return connection.get_hook()  # type: ignore[no-untyped-call]
    try:
        return connection.get_hook(hook_params=dict(hook_params))  # type: ignore[no-untyped-call]
    except TypeError as error:
        raise ConfigurationError(
            f"hook_params is {shown(hook_params)}, which the hook of connection type {connection.conn_type!r} does not "
            f"take ({error}). Give the arguments that its class has"
        ) from error


def _check_sql(sql: Any) -> None:
    if not isinstance(sql, str) or not sql.strip():
        raise ConfigurationError("sql is empty, or no text. Give one SELECT, or the name of a .sql file.")


def _check_parameters(parameters: Any) -> None:
    if isinstance(parameters, (str, bytes)):
        raise ConfigurationError(
            "parameters is a text, whose letters would be bound one by one. Give a list or a dict, with templates "
            "inside it."
        )


def _check_hook_params(hook_params: Any) -> None:
    if not is_nothing(hook_params) and not isinstance(hook_params, Mapping):
        raise ConfigurationError(f"hook_params is {shown(hook_params)}; it may be a dict of the hook's arguments")


def _check_conn_id(conn_id: Any) -> None:
    if is_nothing(conn_id) or not isinstance(conn_id, str):
        raise ConfigurationError(f"conn_id is {shown(conn_id)}; it may be the id of a connection to a SQL database")


def _check_partition_by(column: Any) -> None:
    if column is not None and not isinstance(column, str):
        raise ConfigurationError(f"partition_by is {shown(column)}; it may be the name of one column, or None")


def _check_server_side_cursor(value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"server_side_cursor is {shown(value)}; it may be True or False")


def _check_number(name: str, most: int, value: Any) -> None:
    # Templates render to text.
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        raise ConfigurationError(f"{name} is {value!r}; it must be a whole number from 1 to {most}.")


#: What can be said of an argument before anything is looked up, by its name.
_CHECKS: dict[str, Callable[[Any], None]] = {
    "sql": _check_sql,
    "conn_id": _check_conn_id,
    "dataset_path": check_place,
    "partitions": partial(_check_number, "partitions", MOST_PARTITIONS),
    "parameters": _check_parameters,
    "partition_by": _check_partition_by,
    "fetch_size": partial(_check_number, "fetch_size", MOST_FETCHED),
    "server_side_cursor": _check_server_side_cursor,
    "hook_params": _check_hook_params,
}


class _Progress:
    """Rows so far, in the log at a calm pace."""

    def __init__(self, log: Any, monotonic: Callable[[], float]) -> None:
        self._log = log
        self._monotonic = monotonic
        self._begun = self._logged = monotonic()

    def log(self, rows: int) -> None:
        now = self._monotonic()
        if now - self._logged >= CALM_SECONDS:
            self._logged = now
            self._log.info("%s rows so far, %s rows/s", f"{rows:,}", f"{rows / (now - self._begun):,.0f}")
