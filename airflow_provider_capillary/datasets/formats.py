"""The formats of files, and which one a file has: as the caller says, by its name, or by its first bytes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import msgspec

from airflow_provider_capillary.core.given_values import is_nothing, one_of
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

_HEAD_BYTES = 1 << 16
_MAGIC_BYTES = 16
DELIMITERS = ",;\t|"


class FileFormat(Enum):
    """The formats that can be read. A new one is a line here, a file with its reader, and a case in ``files.py``.

    :ivar title: as messages call it.
    :ivar option: its name in ``dataset_format``.
    :ivar suffixes: how names of such files end.
    :ivar magic: the first bytes of such files, where the format has any.
    """

    PARQUET = ("Parquet", "parquet", (".parquet", ".pq"), b"PAR1")
    ARROW = ("Arrow", "arrow", (".arrow", ".feather"), b"ARROW1")
    CSV = ("CSV", "csv", (".csv", ".tsv", ".txt"), b"")
    JSON_LINES = ("JSON Lines", "jsonl", (".jsonl", ".ndjson", ".json"), b"")

    def __init__(self, title: str, option: str, suffixes: tuple[str, ...], magic: bytes) -> None:
        self.title = title
        self.option = option
        self.suffixes = suffixes
        self.magic = magic


FORMATS = {suffix: file_format for file_format in FileFormat for suffix in file_format.suffixes}
DATASET_FORMATS = {file_format.option: file_format for file_format in FileFormat}
COMPRESSIONS = (".gz", ".zst")  #: of text; the others are compressed within
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


class ReadOptions(msgspec.Struct, frozen=True):
    """What is not to be found out from the files themselves."""

    file_format: FileFormat | None = None
    delimiter: str | None = None  #: between the values of a CSV file
    allow_cut_end: bool = False  #: take a CSV file whose last line has no end


def read_options(
    dataset_format: str | None = None, csv_delimiter: str | None = None, *, allow_cut_end: bool = False
) -> ReadOptions:
    """Check the caller's values, as they come from DAG files and templates.

    :raises ConfigurationError: names the parameter and what it may be.
    """
    file_format = None if is_nothing(dataset_format) else str(dataset_format).strip()
    if file_format is not None and file_format not in DATASET_FORMATS:
        raise ConfigurationError(
            f"dataset_format is {dataset_format!r}; it may be {', '.join(map(repr, DATASET_FORMATS))}, or None"
        )
    if not isinstance(allow_cut_end, bool):
        raise ConfigurationError(f"allow_cut_end is {allow_cut_end!r}; it may be True or False")
    return ReadOptions(DATASET_FORMATS[file_format] if file_format else None, _delimiter(csv_delimiter), allow_cut_end)


def _delimiter(value: str | None) -> str | None:
    if value is None or (value != "\t" and is_nothing(value)):
        return None
    character = _NAMED_DELIMITERS.get(str(value).lower(), str(value))
    if len(character) != 1 or character in '"\r\n' or character.isalnum():
        raise ConfigurationError(
            f"csv_delimiter is {value!r}; it may be one character such as ',', ';' or '|', the word 'tab', or None"
        )
    return character


def format_by_name(uri: str) -> FileFormat | None:
    """The format that the name of a file promises, or ``None`` where it promises none."""
    name = uri.lower()
    compression = next((suffix for suffix in COMPRESSIONS if name.endswith(suffix)), "")
    stem = name.removesuffix(compression)
    found = next((file_format for suffix, file_format in FORMATS.items() if stem.endswith(suffix)), None)
    return None if compression and found is not None and found.magic else found


def format_by_content(uri: str, path: Path) -> FileFormat | None:
    """The format of a local file; ``None`` for one without any content.

    :raises DatasetError: it looks like no format that can be read.
    """
    # A DAG file loads this module to check arguments, and is not to load pyarrow.
    from airflow_provider_capillary.datasets.text_files import open_bytes

    with path.open("rb") as file:
        first = file.read(_MAGIC_BYTES)
    for file_format in FileFormat:
        if file_format.magic and first.startswith(file_format.magic):
            return file_format
    with open_bytes(path) as stream:
        head = stream.read(_HEAD_BYTES)
    text = _as_text(head)
    if not head.strip():
        return None
    if text is not None and text.lstrip()[:1] in ("{", "["):
        return FileFormat.JSON_LINES
    if text is not None and any(mark in text.lstrip().partition("\n")[0] for mark in DELIMITERS):
        return FileFormat.CSV
    options = one_of(file_format.option for file_format in FileFormat)
    raise DatasetError(
        f"{uri}: unknown format, by its name and by its content. Known are files named {', '.join(FORMATS)}, "
        f"text also {' or '.join(COMPRESSIONS)}; for other names set dataset_format={options}."
    )


def _as_text(head: bytes) -> str | None:
    if b"\0" in head:
        return None
    try:
        return head.decode()
    except UnicodeDecodeError as error:
        # a character may be cut at the end of what was read
        return head[: error.start].decode() if error.start > len(head) - 4 else None
