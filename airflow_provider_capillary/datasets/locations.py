"""Where a dataset lies, a local path or object storage, and in which format."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_capillary.exceptions import DatasetError


class FileFormat(Enum):
    """The formats that can be read, told by the file name alone."""

    PARQUET = "Parquet"
    CSV = "CSV"
    JSON_LINES = "JSON Lines"


FORMATS = {
    ".parquet": FileFormat.PARQUET,
    ".csv": FileFormat.CSV,
    ".csv.gz": FileFormat.CSV,
    ".jsonl": FileFormat.JSON_LINES,
    ".jsonl.gz": FileFormat.JSON_LINES,
    ".ndjson": FileFormat.JSON_LINES,
    ".ndjson.gz": FileFormat.JSON_LINES,
}


def format_of(uri: str) -> FileFormat:
    """The format that the name of a file promises; an unknown one is a ``DatasetError``."""
    name = uri.lower()
    for suffix, file_format in FORMATS.items():
        if name.endswith(suffix):
            return file_format
    hint = " A .json file must hold one object per line and be named .jsonl." if name.endswith(".json") else ""
    raise DatasetError(f"{uri}: unknown format. Known are files named {', '.join(FORMATS)}.{hint}")


def local_path(uri: str) -> Path | None:
    """The path of a local file or folder (plain or ``file://``), or ``None`` for anything on object storage."""
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    if parts.netloc.rpartition("@")[2] not in ("", "localhost"):
        raise DatasetError(f"{uri}: a local file needs three slashes, as in file:///{parts.netloc}{parts.path}")
    # Not urlsplit().path: Airflow takes '?', '#' and '%20' of a file URI as they stand, and so must this.
    return Path("/" + uri.split("://", 1)[1].partition("/")[2])
