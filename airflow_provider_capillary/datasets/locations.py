"""Where a dataset lies, a local path or object storage, and in which format."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_capillary.exceptions import DatasetError


class FileFormat(Enum):
    """The formats that can be read. A new one is a line here, a file with its reader, and a line in ``files.py``.

    :ivar title: as messages call it.
    :ivar option: its name in ``dataset_format``.
    :ivar suffixes: how names of such files end.
    :ivar magic: the first bytes of such files, where the format has any.
    """

    PARQUET = ("Parquet", "parquet", (".parquet", ".pq"), b"PAR1")
    CSV = ("CSV", "csv", (".csv", ".tsv", ".txt"), b"")
    JSON_LINES = ("JSON Lines", "jsonl", (".jsonl", ".ndjson", ".json"), b"")

    def __init__(self, title: str, option: str, suffixes: tuple[str, ...], magic: bytes) -> None:
        self.title = title
        self.option = option
        self.suffixes = suffixes
        self.magic = magic


FORMATS = {suffix: file_format for file_format in FileFormat for suffix in file_format.suffixes}
COMPRESSIONS = (".gz", ".zst")  #: of text; Parquet is compressed within


def format_by_name(uri: str) -> FileFormat | None:
    """The format that the name of a file promises, or ``None`` where it promises none."""
    name = uri.lower()
    compression = next((suffix for suffix in COMPRESSIONS if name.endswith(suffix)), "")
    stem = name.removesuffix(compression)
    found = next((file_format for suffix, file_format in FORMATS.items() if stem.endswith(suffix)), None)
    return None if compression and found is FileFormat.PARQUET else found


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
