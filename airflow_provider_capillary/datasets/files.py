"""One or many files as one dataset: a frozen snapshot, inspected as a whole, then streamed as often as needed."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import pyarrow as pa

from airflow_provider_capillary.core.column_choice import fitting_columns
from airflow_provider_capillary.datasets.arrow_file import ArrowFile
from airflow_provider_capillary.datasets.base import DatasetFacts, Window
from airflow_provider_capillary.datasets.csv_file import CsvFile
from airflow_provider_capillary.datasets.formats import FileFormat, ReadOptions, format_by_content, format_by_name
from airflow_provider_capillary.datasets.inspection import DistinctTexts, Problems, listed, missing_columns
from airflow_provider_capillary.datasets.jsonl_file import JsonLinesFile
from airflow_provider_capillary.datasets.locations import local_path
from airflow_provider_capillary.datasets.parquet_file import ParquetFile
from airflow_provider_capillary.datasets.remote_files import RemoteFiles
from airflow_provider_capillary.datasets.text_files import FILE_ERRORS, digest_of, unreadable
from airflow_provider_capillary.exceptions import DatasetError

log = logging.getLogger(__name__)

_DEFAULTS = ReadOptions()
_MOST_NAMED = 20  # files left out, in the summary
_FOLDER_VALUE = re.compile(r"(?P<name>[^=/]+)=(?P<value>[^/]*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class _File(Protocol):
    @property
    def fixed_columns(self) -> bool: ...

    def scan(self, problems: Problems, texts: DistinctTexts) -> tuple[int, tuple[str, ...]]: ...

    def windows(self, rows: int, columns: tuple[str, ...], rows_before: int) -> Iterator[Window]: ...


class _Part:
    """One file of the snapshot: where it came from, where it lies, and what it must still be when it is read again."""

    def __init__(
        self,
        uri: str,
        path: Path,
        file: _File,
        digest: bytes,
        identity: tuple[int, int, int],
        file_format: FileFormat | None,
    ) -> None:
        self.uri = uri
        self.file_format = file_format
        self.folder_values: dict[str, Any] = {}  #: columns of the folders' names that the file itself lacks
        self.path = path
        self.file = file
        self.digest = digest
        self.identity = identity
        self.rows = 0
        self.columns: tuple[str, ...] = ()

    def identifying(self) -> bytes:
        """What makes it another file when it changes: the bytes, and how they are read."""
        delimiter = self.file.delimiter if isinstance(self.file, CsvFile) else ","
        if not self.folder_values and delimiter in (None, ","):
            return self.digest
        return self.digest + repr((delimiter, self.folder_values)).encode(errors="backslashreplace")

    def must_be_unchanged(self) -> None:
        if _identity(self.path) != self.identity:
            raise DatasetError(
                f"{self.uri}: the file changed while it was being read. "
                "Let the task that writes it finish first, and write under a new name each time."
            )


class FilesDataset:
    """Files of one format, read in the given order. Remote ones are copied once; local ones are read in place.

    Names and contents say which format it is, where the options do not.
    """

    def __init__(
        self,
        uris: Sequence[str],
        required_columns: tuple[tuple[str, ...], ...],
        expected_rows: int | None = None,
        options: ReadOptions = _DEFAULTS,
        left_out: Sequence[str] = (),
    ) -> None:
        self._uris = tuple(uris)
        self._required = required_columns
        self._expected_rows = expected_rows
        self._options = options
        self._left_out = tuple(left_out)
        self._remote = RemoteFiles([uri for uri in uris if local_path(uri) is None])
        self._parts: list[_Part] = []
        self._facts: DatasetFacts | None = None

    def inspect(self) -> DatasetFacts:
        """Read every file once and raise one ``DatasetError`` that names all that is wrong."""
        if self._facts is None:
            try:
                self._facts = self._inspect()
            except BaseException:
                self.close()  # the copies made so far will not be read
                raise
        return self._facts

    def windows(self, rows: int) -> Iterator[Window]:
        """Stream the rows in order; a file that is no longer the inspected one is a ``DatasetError``."""
        columns = self.inspect().columns
        rows_before = 0
        for part in self._parts:
            try:
                part.must_be_unchanged()
                for window in part.file.windows(rows, columns, rows_before):
                    yield _WithFolderValues(window, part.folder_values) if part.folder_values else window
                part.must_be_unchanged()
            except FILE_ERRORS as error:
                raise unreadable(part.uri, error) from error
            rows_before += part.rows

    def close(self) -> None:
        """Remove the local copies of remote files; the dataset cannot be read afterwards."""
        self._remote.close()

    def _inspect(self) -> DatasetFacts:
        problems = Problems()
        texts = DistinctTexts(self._required[0] if self._required else ())
        parts: list[_Part] = []
        for uri in self._uris:
            try:
                parts.append(self._read(uri, problems, texts))
            except DatasetError as error:
                problems.add(str(error))
        self._refuse_mixed_formats(parts, problems)
        columns = self._all_columns(parts, problems)
        rows = sum(part.rows for part in parts)
        problems.raise_if_any()
        if self._expected_rows not in (None, rows):
            raise DatasetError(
                f"The extract reported {self._expected_rows} rows, but its files hold {rows}: they were replaced "
                "since. Run the extract again."
            )
        digest = hashlib.blake2b(b"".join(part.identifying() for part in parts), digest_size=32)
        self._parts = parts
        return DatasetFacts(rows, columns, digest.hexdigest(), self._uris, self._assumed(parts), texts.by_column())

    def _assumed(self, parts: list[_Part]) -> dict[str, Any]:
        """What was found out from names and contents, for the log and the summary."""
        assumed: dict[str, Any] = {}
        formats = sorted({part.file_format.title for part in parts if part.file_format})
        delimiters = sorted({part.file.delimiter or "," for part in parts if isinstance(part.file, CsvFile)})
        if formats:
            assumed["format"] = ", ".join(formats)
        if delimiters:
            assumed["delimiter"] = " ".join(delimiters)
        if self._left_out:
            assumed["left_out"] = list(self._left_out[:_MOST_NAMED])
            log.info("Left out as no data: %s", listed(list(self._left_out)))
        if delimiters not in ([], [","]):
            log.info("CSV: values are divided by %s", " and by ".join(map(repr, delimiters)))
        return assumed

    def _read(self, uri: str, problems: Problems, texts: DistinctTexts) -> _Part:
        path, digest = local_path(uri), b""
        if path is None:
            path, digest = self._remote.copy(uri)
        try:
            part = self._snapshot(uri, path, digest)
            part.rows, part.columns = part.file.scan(problems, texts)
            part.must_be_unchanged()
        except FILE_ERRORS as error:
            raise unreadable(uri, error) from error
        part.folder_values = {
            name: value for name, value in _folder_values(uri).items() if not fitting_columns((name,), part.columns)
        }
        if gathered := texts.column_among(tuple(part.folder_values)):
            texts.add((part.folder_values[gathered],))
        return part

    def _snapshot(self, uri: str, path: Path, digest: bytes) -> _Part:
        """The file as it is now.

        :param digest: of a copy that was just made; else empty.
        """
        identity = _identity(path)
        file_format = self._options.file_format or format_by_name(uri) or format_by_content(uri, path)
        return _Part(uri, path, self._file(uri, path, file_format), digest or digest_of(path), identity, file_format)

    def _file(self, uri: str, path: Path, file_format: FileFormat | None) -> _File:
        match file_format:
            case FileFormat.PARQUET:
                return ParquetFile(uri, path)
            case FileFormat.ARROW:
                return ArrowFile(uri, path)
            case FileFormat.JSON_LINES:
                return JsonLinesFile(uri, path)
            case FileFormat.CSV | None:  # an empty file without a name that says more is read as text
                return CsvFile(uri, path, self._options, self._required)

    @staticmethod
    def _refuse_mixed_formats(parts: list[_Part], problems: Problems) -> None:
        formats = {part.file_format: part.uri for part in parts if part.file_format}
        if len(formats) > 1:
            examples = ", ".join(f"{file_format.title} ({uri})" for file_format, uri in formats.items())
            problems.add(f"The dataset mixes formats: {examples}. Keep each format in a folder of its own.")

    def _all_columns(self, parts: list[_Part], problems: Problems) -> tuple[str, ...]:
        """The union over all files; those that are required must be in every one that has columns of its own."""
        columns = tuple(dict.fromkeys(name for part in parts for name in (*part.columns, *part.folder_values)))
        fixed = [part for part in parts if part.file.fixed_columns and part.columns]
        for part in fixed:
            missing = missing_columns(self._required, (*part.columns, *part.folder_values))
            if missing:
                problems.add(f"{part.uri}: {missing}")
        if not fixed and any(part.rows for part in parts):
            missing = missing_columns(self._required, columns)
            if missing:
                problems.add(f"{parts[0].uri}: {missing}")
        return columns


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _folder_values(uri: str) -> dict[str, Any]:
    """The columns that a file's folders stand for, as in ``dt=2025-01-31/part-0.parquet``; text, or ``None``."""
    values: dict[str, Any] = {}
    for segment in reversed(uri.split("/")[:-1]):
        named = _FOLDER_VALUE.fullmatch(segment)
        if named is None:
            break
        value = unquote(named["value"])
        values[unquote(named["name"])] = None if value == _NO_VALUE else value
    return dict(reversed(values.items()))


class _WithFolderValues:
    """Another window, with columns of one value each: those that the names of its file's folders stand for."""

    def __init__(self, window: Window, values: Mapping[str, Any]) -> None:
        self._window = window
        self._values = values
        self.source = window.source
        self.first_row_number = window.first_row_number

    def __len__(self) -> int:
        return len(self._window)

    def column(self, name: str) -> Sequence[Any]:
        """All values of one column, the file's own or the folder's."""
        return [self._values[name]] * len(self) if name in self._values else self._window.column(name)

    def arrow(self, name: str) -> pa.Array[Any] | None:
        """The file's own values as an Arrow array, where they are kept as one."""
        return None if name in self._values else self._window.arrow(name)

    def is_in_seconds(self, name: str) -> bool:
        """Whether its numbers are epoch seconds."""
        return name not in self._values and self._window.is_in_seconds(name)

    def original(self, index: int) -> dict[str, Any]:
        """One row, with the folder's values."""
        return self._window.original(index) | dict(self._values)

    def line(self, index: int) -> int:
        """The row's place in its file, from 1."""
        return self._window.line(index)
