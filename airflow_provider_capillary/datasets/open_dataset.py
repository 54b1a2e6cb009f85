"""The one door to datasets: whatever a user may name as a dataset, as rows that can be streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_capillary.datasets.base import Dataset
from airflow_provider_capillary.datasets.dataset_files import FileFinder
from airflow_provider_capillary.datasets.files import FilesDataset
from airflow_provider_capillary.datasets.formats import ReadOptions
from airflow_provider_capillary.datasets.locations import named
from airflow_provider_capillary.datasets.rows import RowsDataset
from airflow_provider_capillary.exceptions import DatasetError

_DEFAULTS = ReadOptions()


def open_dataset(
    dataset: Any, *, required_columns: Sequence[Sequence[str]] = (), options: ReadOptions = _DEFAULTS
) -> Dataset:
    """Open a dataset; close it when done, as local copies of remote files are removed only then.

    :param dataset: the URI or path of a Parquet, Arrow, CSV or JSON Lines file (``.gz`` and ``.zst`` too for the latter
        two), of a folder with all below it, or a pattern of names; a list of these; what the extract operator
        returned, or a list of that; or a list of at most 10,000 dicts.
    :param required_columns: for each column that must be there, the names under which it is accepted.
    :param options: how files are to be read, where it is not to be found out from them.
    :raises DatasetError: the dataset is of no known form. What is wrong with its content is raised by ``inspect()``,
        which ``windows()`` calls first where that was not done.
    :raises ConfigurationError: no such Airflow connection, or no filesystem for the URI.
    """
    required = tuple(tuple(names) for names in required_columns)
    dataset = named(dataset)
    if isinstance(dataset, str):
        return _files([dataset], required, options)
    if isinstance(dataset, Mapping):
        return _extract([dataset], required, options)
    if not isinstance(dataset, Sequence) or isinstance(dataset, (bytes, bytearray)):
        raise DatasetError(f"A dataset cannot be a {type(dataset).__name__}. {_FORMS}")
    if dataset and all(isinstance(member, str) for member in dataset):
        return _files(list(dataset), required, options)
    if dataset and all(isinstance(member, Mapping) and {"uri", "parts"} <= member.keys() for member in dataset):
        return _extract(dataset, required, options)
    return RowsDataset(dataset, required)


_FORMS = "Give a URI, a list of URIs, what the extract operator returned, or a short list of dicts."


def _extract(
    results: Sequence[Mapping[str, Any]], required: tuple[tuple[str, ...], ...], options: ReadOptions
) -> Dataset:
    uris: list[str] = []
    for result in results:
        parts = result.get("parts")
        if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
            raise DatasetError(f"A dataset given as a dict needs its 'parts', a list of URIs. {_FORMS}")
        uris.extend(str(part) for part in parts)
    counts = [result.get("rows") for result in results]
    expected = sum(counts) if all(isinstance(count, int) for count in counts) else None  # type: ignore[arg-type]
    return _files(uris, required, options, expected)


def _files(
    uris: list[str],
    required: tuple[tuple[str, ...], ...],
    options: ReadOptions,
    expected_rows: int | None = None,
) -> Dataset:
    finder = FileFinder()
    found = [finder.files_at(uri) for uri in uris]
    files = [file for one in found for file in one.uris]
    if expected_rows is None and found and all(one.rows is not None for one in found):
        expected_rows = sum(one.rows or 0 for one in found)
    twice = sorted({file for file in files if files.count(file) > 1}) if len(set(files)) < len(files) else []
    if twice:
        raise DatasetError(f"{twice[0]}: named twice, so that its rows would be imported twice. Name every file once.")
    left_out = [file for one in found for file in one.left_out]
    return FilesDataset(files, required, expected_rows, options, left_out)
