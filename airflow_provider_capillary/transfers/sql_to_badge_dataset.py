"""From any SQL database to a dataset for the badge import: streamed, typed by its values, published at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_capillary.datasets.part_writer import PartWriter
from airflow_provider_capillary.datasets.publish import check_target, publish
from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError
from airflow_provider_capillary.hooks.errors import as_airflow_error
from airflow_provider_capillary.transfers.extract_output import ExtractOutput

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_PARTITIONS = 256
_CUSTOMER_COLUMNS = ("customerId", "customer_id")
_CURSOR = "capillary_badge_dataset"


class SqlToBadgeDatasetOperator(BaseOperator):
    """Writes the result of one query to Parquet parts that ``BadgeImportOperator`` reads.

    The result is streamed: neither the rows nor the parts are held in memory or travel through XCom. A failed try
    leaves what lay at ``dataset_path`` before, and the next one writes the same place with nothing left over of it.
    The parts have the rows in the order of the result, so give the query an ``ORDER BY`` if a cleared task shall
    write the same bytes. Types follow the values of the whole result and no value is ever changed; see
    ``airflow_provider_capillary.datasets.column_kinds`` for the rules.

    Memory stays flat only where the driver streams. On PostgreSQL (either psycopg) the rows come through a cursor
    on the server. MySQL drivers hold the whole result unless the connection's extra asks for ``sscursor``.

    :param sql: one query, or the name of a ``.sql`` file (templated)
    :param conn_id: any connection whose hook is a ``DbApiHook`` (templated)
    :param dataset_path: URI of the folder to write, ``file://`` or any object storage; its own folder, as what an
        earlier try has written there is replaced (templated, as in ``s3://lake@bucket/badges/{{ ds_nodash }}``)
    :param partitions: how many parts to write, 1 to 256, always all of them, for ``.expand(dataset=...)`` (templated)
    :param parameters: bound to the query by the driver, never formatted into it, and never logged (templated)
    :param partition_by: the column whose equal values land in the same part; default ``customerId`` or
        ``customer_id``. Needed with more than one partition, as the API must not get rows of one customer at once
    :param fetch_size: rows fetched at a time
    :param server_side_cursor: on PostgreSQL, stream from the server; turn it off for a statement that cannot be
        declared as a cursor (a ``CALL``, or ``INSERT ... RETURNING``)
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
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#e8f1e4"

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.dataset_path = dataset_path
        self.partitions = partitions
        self.parameters = parameters
        self.partition_by = partition_by
        self.fetch_size = fetch_size
        self.server_side_cursor = server_side_cursor

    @property
    def output(self) -> ExtractOutput:
        """What the task returns; single values by name, as in ``output["parts"]``."""
        return ExtractOutput(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the query, write the parts, publish them; return where they lie.

        :raises BadgeTaskFailed: the connection is not for a SQL database, an argument is wrong, the target folder
            holds other files, or a column of the result has values for which no type is safe. What the database
            itself raises comes as it is, and Airflow tries again
        """
        try:
            return self._extract()
        except CapillaryError as error:
            raise as_airflow_error(error) from error

    def _extract(self) -> dict[str, Any]:
        partitions = _number(self.partitions, "partitions", MOST_PARTITIONS)
        fetch_size = _number(self.fetch_size, "fetch_size", 1_000_000)
        hook = self._hook()
        check_target(self.dataset_path)
        with tempfile.TemporaryDirectory(prefix="capillary-extract-") as folder:
            writer = self._written(hook, Path(folder), partitions, fetch_size)
            parts = publish(writer.finish(), self.dataset_path)
        self.log.info("Wrote %s rows in %s parts to %s", writer.rows, len(parts), self.dataset_path)
        return {"uri": self.dataset_path, "parts": parts, "rows": writer.rows, "columns": list(writer.columns)}

    def _hook(self) -> DbApiHook:
        try:
            hook = BaseHook.get_connection(self.conn_id).get_hook()  # type: ignore[no-untyped-call]
        except AirflowNotFoundException as error:
            raise ConfigurationError(
                f"There is no connection {self.conn_id!r}. Create it, or correct conn_id"
            ) from error
        if not isinstance(hook, DbApiHook):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} is for no SQL database: its hook {type(hook).__name__} is no DbApiHook."
            )
        hook.log_sql = False  # it would log the parameters, which may be personal
        return hook

    def _written(self, hook: DbApiHook, folder: Path, partitions: int, fetch_size: int) -> PartWriter:
        declared = self.server_side_cursor and hook.conn_type == "postgres"
        sql = f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {self.sql.strip().rstrip(';')}" if declared else self.sql
        written: list[PartWriter] = []

        def take(cursor: Any) -> None:
            for rows in _fetched(cursor, fetch_size, declared):
                columns = written[0].columns if written else _columns_of(cursor)
                if not written:
                    written.append(PartWriter(folder, columns, partitions, self._customer_column(columns, partitions)))
                written[0].write([_values(row, columns) for row in rows])

        hook.run(sql, parameters=self.parameters, handler=take)
        return written[0]

    def _customer_column(self, columns: Sequence[str], partitions: int) -> str | None:
        if partitions == 1:
            return None
        accepted = (self.partition_by,) if self.partition_by else _CUSTOMER_COLUMNS
        for name in accepted:
            if name in columns:
                return name
        raise ConfigurationError(
            f"No column {' or '.join(map(repr, accepted))} to divide the rows by; the query gives "
            f"{', '.join(map(repr, columns))}. Name the column of the customer in partition_by."
        )


def _fetched(cursor: Any, size: int, declared: bool) -> Iterator[Sequence[Any]]:
    """The rows, ``size`` at a time, and at the end an empty share: by then the columns are known in any case."""
    if not declared:
        _columns_of(cursor)  # some drivers say less clearly that a statement has no result
    while True:
        if declared:
            cursor.execute(f"FETCH FORWARD {size} FROM {_CURSOR}")
        rows = cursor.fetchall() if declared else cursor.fetchmany(size)
        yield rows
        if not rows:
            return


def _columns_of(cursor: Any) -> tuple[str, ...]:
    if not cursor.description:
        raise ConfigurationError("The SQL gives no rows at all: it is not a query. Give one SELECT.")
    columns = tuple(str(column[0]) for column in cursor.description)
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ConfigurationError(f"The query gives the column {twice[0]!r} twice. Name each with AS.")
    return columns


def _values(row: Any, columns: Sequence[str]) -> Sequence[Any]:
    # Connections can ask their driver for rows as dicts.
    return [row[name] for name in columns] if isinstance(row, Mapping) else row


def _number(value: Any, name: str, most: int) -> int:
    # Templates render to text.
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        raise ConfigurationError(f"{name} is {value!r}; it must be a whole number from 1 to {most}.")
    return number
