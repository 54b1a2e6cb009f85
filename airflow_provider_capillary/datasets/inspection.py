"""What one pass over a dataset gathers: all that is wrong with it, and the texts of the column that names badges.

A person can so mend everything in one go, and the badges are known without another pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_capillary.core.column_choice import FIELD_COLUMNS, fitting_columns
from airflow_provider_capillary.exceptions import DatasetError

MOST_SHOWN = 20  #: problems named in one message; the rest is counted
MOST_TEXTS = 10_000  #: different ones that are gathered


class Problems:
    """A bounded list of findings: however broken the dataset, the message stays readable and the memory flat."""

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._count = 0

    def add(self, message: str) -> None:
        """Note one finding; it names the file, the line or row, and what to do."""
        self._count += 1
        if len(self._shown) < MOST_SHOWN:
            self._shown.append(message)

    def raise_if_any(self) -> None:
        """Raise one ``DatasetError`` that names every finding, or the first ones and how many there are in all."""
        if not self._count:
            return
        if self._count == 1:
            raise DatasetError(self._shown[0])
        lines = [f"The dataset has {self._count} problems:", *(f"  - {message}" for message in self._shown)]
        if self._count > len(self._shown):
            lines.append(f"  ... and {self._count - len(self._shown)} more")
        raise DatasetError("\n".join(lines))


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


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Column names for a message: quoted, so that stray blanks show, and at most 50 of them."""
    shown = ", ".join(repr(name) for name in names[:50]) or "none at all"
    return shown if len(names) <= 50 else f"{shown}, ... ({len(names)} in all)"


def refuse_twice(where: str, names: Sequence[str]) -> None:
    """Refuse columns of one name; ``where`` names the file, and the line where it has any."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{where}: columns named twice: {listed(twice)}. Give each its own name.")


def missing_columns(required: tuple[tuple[str, ...], ...], found: tuple[str, ...]) -> str | None:
    """The message for required columns of which no accepted name was found, or ``None`` if all are there."""
    missing = [names for names in required if not fitting_columns(names, found)]
    if not missing:
        return None
    wanted = "; ".join(" or ".join(repr(name) for name in names) for names in missing)
    hint = ""
    if len(found) == 1 and any(mark in found[0] for mark in ";\t|"):
        hint = " The header was not split: the columns of a CSV file must be separated by commas."
    return (
        f"missing columns: {wanted}. Columns found: {listed(found)}.{hint} "
        "Rename the columns or give a field mapping that names yours."
    )
