"""The distinct texts of one column, gathered while a dataset is inspected, so that it need not be read once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_capillary.core.column_choice import FIELD_COLUMNS, fitting_columns

MOST_TEXTS = 10_000


class DistinctTexts:
    """Gathers the texts of the column that names badges, over all files.

    :param names: the names under which the column is accepted; none: the API's name and its snake_case form.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = tuple(names) or FIELD_COLUMNS["badgeMetaId"]
        self._texts: set[str] = set()
        self._columns: set[str] = set()

    def column_among(self, columns: Sequence[str]) -> str | None:
        """Give the column to gather among those of a file, or ``None`` where not exactly one fits."""
        found = fitting_columns(self._names, columns)
        if len(found) != 1:
            return None
        self._columns.add(found[0])
        return found[0]

    def add(self, values: Iterable[Any]) -> None:
        """Gather the texts among the values. Where there are more than ``MOST_TEXTS``, no more are gathered."""
        if len(self._texts) <= MOST_TEXTS:
            self._texts.update(value for value in values if isinstance(value, str))

    def by_column(self) -> dict[str, frozenset[str]]:
        """Give the texts by the column; nothing where files differ in its name, or have it in their folder's."""
        if len(self._columns) != 1:
            return {}
        return {next(iter(self._columns)): frozenset(self._texts)}
