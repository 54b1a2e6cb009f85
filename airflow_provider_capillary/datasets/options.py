"""How files are to be read, as far as the caller says so."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_capillary.datasets.locations import FileFormat
from airflow_provider_capillary.exceptions import ConfigurationError

DATASET_FORMATS = {"parquet": FileFormat.PARQUET, "csv": FileFormat.CSV, "jsonl": FileFormat.JSON_LINES}
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
    file_format = _given(dataset_format)
    if file_format is not None and file_format not in DATASET_FORMATS:
        raise ConfigurationError(
            f"dataset_format is {dataset_format!r}; it may be {', '.join(map(repr, DATASET_FORMATS))}, or None"
        )
    return ReadOptions(file_format and DATASET_FORMATS[file_format], _delimiter(csv_delimiter), bool(allow_cut_end))


def _given(value: Any) -> Any:
    """Templates without a value render to nothing, or to the word None."""
    return None if value is None or str(value).strip(" ") in ("", "None") else value


def _delimiter(value: str | None) -> str | None:
    given = _given(value)
    if given is None:
        return None
    character = _NAMED_DELIMITERS.get(str(given).lower(), str(given))
    if len(character) != 1 or character in '"\r\n' or character.isalnum():
        raise ConfigurationError(
            f"csv_delimiter is {value!r}; it may be one character such as ',', ';' or '|', the word 'tab', or None"
        )
    return character
