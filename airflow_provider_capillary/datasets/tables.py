"""Folders of table formats, whose files are not the table: a log beside them says which of them still count.

Read as plain files they would give rows that the table no longer has, and badges would be granted for these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from airflow_provider_capillary.exceptions import DatasetError

_MOST_ANCESTORS = 4
_HIVE_ACID = re.compile(r"(base_\d+|delta_\d+_\d+(_\d+)?|delete_delta_\d+_\d+(_\d+)?)")
_PAIMON = {"snapshot", "manifest", "schema"}

#: Names in a folder and whether each is a folder itself; ``None`` where it cannot be listed.
Listing = Callable[[str], Mapping[str, bool] | None]


def table_in(folder: str, children: Mapping[str, bool], listing: Listing) -> str | None:
    """What sort of table a folder is, or ``None``."""
    if "_delta_log" in children:
        return "Delta Lake"
    if ".hoodie" in children:
        return "Apache Hudi"
    folders = {name for name, is_folder in children.items() if is_folder}
    if "metadata" in folders and any(map(_is_iceberg, listing(f"{folder}/metadata") or ())):
        return "Apache Iceberg"
    if folders >= _PAIMON:
        return "Apache Paimon"
    return "Hive ACID" if any(map(_HIVE_ACID.fullmatch, folders)) else None


def ancestors(uri: str) -> list[str]:
    """The folders above a URI in which a table may begin, the nearest first."""
    start, mark, rest = uri.rstrip("/").partition("://")
    path = PurePosixPath(rest if mark else start)
    above = [str(parent) for parent in path.parents if str(parent) not in (".", "/")]
    return [f"{start}{mark}{parent}" if mark else parent for parent in above[:_MOST_ANCESTORS]]


def refuse_table(uri: str, folder: str, table: str) -> DatasetError:
    """The error for files of a table."""
    place = "is" if uri.rstrip("/") == folder else f"lies in {folder}, which is"
    return DatasetError(
        f"{uri}: {place} a table of {table}. Which of its files count is in its log, so reading them as files would "
        "import rows that the table no longer has. Read the table by SQL: SqlToBadgeDatasetOperator, with a connection "
        "to an engine that knows it (Trino, Spark, Databricks, Snowflake, Athena, DuckDB)."
    )


def _is_iceberg(name: str) -> bool:
    return name.endswith((".metadata.json", ".metadata.json.gz")) or name == "version-hint.text"
