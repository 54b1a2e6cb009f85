"""Where a dataset lies: local path or object storage, which format, and which files a folder holds."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_capillary.datasets.text_files import no_such_file, reading
from airflow_provider_capillary.exceptions import DatasetError

INCOMPLETE_MARKER = "_incomplete"  #: lies in a folder on object storage while its parts are being replaced


class FileFormat(Enum):
    """The formats that can be read, told by the file name alone."""

    PARQUET = "Parquet"
    CSV = "CSV"
    JSON_LINES = "JSON Lines"


_FORMATS = {
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
    for suffix, file_format in _FORMATS.items():
        if name.endswith(suffix):
            return file_format
    hint = " A .json file must hold one object per line and be named .jsonl." if name.endswith(".json") else ""
    raise DatasetError(f"{uri}: unknown format. Known are files named {', '.join(_FORMATS)}.{hint}")


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


def files_at(uri: str) -> list[str]:
    """The file itself, or the files of a folder sorted by name; hidden ones and those with ``_`` in front left out.

    A folder inside the folder is refused rather than skipped: its rows would silently not be imported.
    """
    path = local_path(uri)
    if path is None:
        from airflow_provider_capillary.datasets.object_storage import children_of

        children = children_of(uri)
    else:
        children = _local_children(uri, path)
    if children is None:
        return [uri]
    if INCOMPLETE_MARKER in children:
        raise DatasetError(
            f"{uri}: the folder is only partly written (it holds {INCOMPLETE_MARKER}): "
            "the task that writes it is still at work or was killed. Run that task again."
        )
    visible = {name: is_folder for name, is_folder in children.items() if name and name[0] not in "._"}
    folders = sorted(name for name, is_folder in visible.items() if is_folder)
    if folders:
        raise DatasetError(f"{uri}: holds the folder {folders[0]!r}. Give the folders to read as a list of URIs.")
    if not visible:
        raise DatasetError(f"{uri}: the folder holds no files. Check the path and whether the task before has written.")
    return [f"{uri.rstrip('/')}/{name}" for name in sorted(visible)]


def _local_children(uri: str, path: Path) -> dict[str, bool] | None:
    with reading(uri):
        if not path.is_dir():
            # A missing file of a known format is left for the inspection, which names all missing ones at once.
            if not path.exists() and not uri.lower().endswith(tuple(_FORMATS)):
                raise no_such_file(uri)
            return None
    try:
        with os.scandir(path) as entries:
            return {entry.name: entry.is_dir() for entry in entries}
    except PermissionError as error:
        raise DatasetError(f"{uri}: no permission to list the folder. Grant the worker's user access.") from error
