"""The format of a file whose name promises none, by its first bytes."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_capillary.core.given_values import one_of
from airflow_provider_capillary.datasets.locations import COMPRESSIONS, FORMATS, FileFormat
from airflow_provider_capillary.datasets.text_files import open_bytes
from airflow_provider_capillary.exceptions import DatasetError

_HEAD_BYTES = 1 << 16
_MAGIC_BYTES = 16
DELIMITERS = ",;\t|"


def format_by_content(uri: str, path: Path) -> FileFormat | None:
    """The format of a local file; ``None`` for one without any content.

    :raises DatasetError: it looks like no format that can be read.
    """
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
