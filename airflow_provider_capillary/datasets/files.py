"""One or many files as one dataset: a frozen snapshot, inspected as a whole, then streamed as often as needed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from airflow_provider_capillary.datasets.base import DatasetFacts, Window
from airflow_provider_capillary.datasets.csv_file import CsvFile
from airflow_provider_capillary.datasets.jsonl_file import JsonLinesFile
from airflow_provider_capillary.datasets.locations import FileFormat, local_path
from airflow_provider_capillary.datasets.object_storage import copy_to_local
from airflow_provider_capillary.datasets.parquet_file import ParquetFile
from airflow_provider_capillary.datasets.problems import Problems, listed, missing_columns
from airflow_provider_capillary.datasets.text_files import digest_of, reading
from airflow_provider_capillary.exceptions import DatasetError


class _File(Protocol):
    @property
    def fixed_columns(self) -> bool: ...

    def scan(self, problems: Problems) -> tuple[int, tuple[str, ...]]: ...

    def windows(self, rows: int, columns: tuple[str, ...], rows_before: int) -> Iterator[Window]: ...


class _Part:
    """One file of the snapshot: where it came from, where it lies, and what it must still be when it is read again."""

    def __init__(self, uri: str, path: Path, file: _File, digest: bytes, identity: tuple[int, int, int]) -> None:
        self.uri = uri
        self.path = path
        self.file = file
        self.digest = digest
        self.identity = identity
        self.rows = 0
        self.columns: tuple[str, ...] = ()

    def must_be_unchanged(self) -> None:
        with reading(self.uri):
            if _identity(self.path) != self.identity:
                raise DatasetError(
                    f"{self.uri}: the file changed while it was being read. "
                    "Let the task that writes it finish first, and write under a new name each time."
                )


class FilesDataset:
    """Files of one format, read in the given order. Remote ones are copied once; local ones are read in place."""

    def __init__(
        self,
        uris: Sequence[str],
        file_format: FileFormat,
        required_columns: tuple[tuple[str, ...], ...],
        expected_rows: int | None = None,
    ) -> None:
        self._uris = tuple(uris)
        self._format = file_format
        self._required = required_columns
        self._expected_rows = expected_rows
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._parts: list[_Part] = []
        self._facts: DatasetFacts | None = None

    def inspect(self) -> DatasetFacts:
        """Read every file once and raise one ``DatasetError`` that names all that is wrong."""
        if self._facts is None:
            try:
                self._facts = self._inspect()
            except BaseException:
                self.close()  # nobody will read the copies made so far
                raise
        return self._facts

    def windows(self, rows: int) -> Iterator[Window]:
        """Stream the rows in order; a file that is no longer the inspected one is a ``DatasetError``."""
        columns = self.inspect().columns
        rows_before = 0
        for part in self._parts:
            part.must_be_unchanged()
            yield from part.file.windows(rows, columns, rows_before)
            part.must_be_unchanged()
            rows_before += part.rows

    def close(self) -> None:
        """Remove the local copies of remote files; the dataset cannot be read afterwards."""
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None

    def _inspect(self) -> DatasetFacts:
        problems = Problems()
        parts: list[_Part] = []
        for uri in self._uris:
            try:
                parts.append(self._read(uri, problems))
            except DatasetError as error:
                problems.add(str(error))
        columns = self._agreed_columns(parts, problems)
        rows = sum(part.rows for part in parts)
        problems.raise_if_any()
        if self._expected_rows not in (None, rows):
            raise DatasetError(
                f"The extract reported {self._expected_rows} rows, but its files hold {rows}: they were replaced "
                "since. Run the extract again."
            )
        digest = hashlib.blake2b(b"".join(part.digest for part in parts), digest_size=32)
        self._parts = parts
        return DatasetFacts(rows, columns, digest.hexdigest(), self._uris)

    def _read(self, uri: str, problems: Problems) -> _Part:
        part = self._snapshot(uri)
        part.rows, part.columns = part.file.scan(problems)
        part.must_be_unchanged()
        return part

    def _snapshot(self, uri: str) -> _Part:
        path = local_path(uri)
        if path is not None:
            with reading(uri):
                identity = _identity(path)
                return _Part(uri, path, self._file(uri, path), digest_of(path), identity)
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="capillary-dataset-")
        number = len(os.listdir(self._copies.name))
        path = Path(self._copies.name, f"{number:05d}-{uri.rsplit('/', 1)[-1]}")
        digest = copy_to_local(uri, path)
        return _Part(uri, path, self._file(uri, path), digest, _identity(path))

    def _file(self, uri: str, path: Path) -> _File:
        if self._format is FileFormat.PARQUET:
            return ParquetFile(uri, path)
        return CsvFile(uri, path) if self._format is FileFormat.CSV else JsonLinesFile(uri, path)

    def _agreed_columns(self, parts: list[_Part], problems: Problems) -> tuple[str, ...]:
        if not parts:
            return ()
        first = parts[0]
        if not first.file.fixed_columns:
            columns = tuple(dict.fromkeys(name for part in parts for name in part.columns))
            known = any(part.rows for part in parts)
        else:
            columns, known = first.columns, True
            for part in parts[1:]:
                if set(part.columns) != set(columns):
                    problems.add(
                        f"{part.uri}: has the columns {listed(part.columns)}, but {first.uri} has {listed(columns)}. "
                        "All parts must have the same columns."
                    )
        missing = missing_columns(self._required, columns) if known else None
        if missing:
            problems.add(f"{first.uri}: {missing}")
        return columns


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
