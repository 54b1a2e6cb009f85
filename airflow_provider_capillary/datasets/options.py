"""How files are to be read, as far as the caller says so."""

from __future__ import annotations

import msgspec

from airflow_provider_capillary.core.given_values import is_nothing
from airflow_provider_capillary.datasets.formats import FileFormat
from airflow_provider_capillary.exceptions import ConfigurationError

DATASET_FORMATS = {file_format.option: file_format for file_format in FileFormat}
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
