"""Finds the column of a dataset for each field of the API, by name or by ``field_mapping``.

A DAG file that names an operator loads this module. It therefore imports no library that reads datasets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

#: The API's name of a field -> the column names that are looked for if ``field_mapping`` names none.
FIELD_COLUMNS: dict[str, tuple[str, ...]] = {
    "badgeMetaId": ("badgeMetaId", "badge_meta_id"),
    "customerId": ("customerId", "customer_id"),
    "earnEventDate": ("earnEventDate", "earn_event_date", "earnEventDateISO", "earn_event_date_iso"),
    "earnExpiresOn": ("earnExpiresOn", "earn_expires_on", "earnExpiresOnISO", "earn_expires_on_iso"),
}


class Columns(msgspec.Struct, frozen=True):
    """The dataset's column for each field, and a second one if the dataset gives an instant in two forms."""

    badge_meta_id: str
    customer_id: str
    earned_at: str
    expires_at: str
    earned_at_iso: str | None = None
    expires_at_iso: str | None = None


def column_choices(field_mapping: Mapping[str, str] | None) -> list[tuple[str, ...]]:
    """Give the acceptable column names of each field, in field order.

    :param field_mapping: field of the API -> column.
    :raises ConfigurationError: the mapping has a field that the API does not have, or one field twice.
    """
    mapping = dict(field_mapping or {})
    by_name = {alias: field for field, aliases in FIELD_COLUMNS.items() for alias in aliases}
    unknown = sorted(set(mapping) - set(by_name))
    if unknown:
        raise ConfigurationError(
            f"field_mapping has unknown field(s) {', '.join(unknown)}; known: {', '.join(FIELD_COLUMNS)}"
        )
    twice = sorted({field for field in FIELD_COLUMNS if sum(by_name[name] == field for name in mapping) > 1})
    if twice:
        raise ConfigurationError(f"field_mapping names a column for {', '.join(twice)} twice; give one")
    chosen = {by_name[name]: column for name, column in mapping.items()}
    return [(chosen[field],) if field in chosen else aliases for field, aliases in FIELD_COLUMNS.items()]


def fitting_columns(names: Sequence[str], found: Sequence[str]) -> list[str]:
    """Give the columns that have one of these names; case, blanks and underscores do not count.

    Example: ``["customer_id"]`` fits ``Customer ID`` and ``CUSTOMERID``. If a single name is there exactly as written,
    that column alone fits.
    """
    if len(names) == 1 and names[0] in found:
        return [names[0]]
    wanted = dict.fromkeys(map(_folded, names))
    return [column for name in wanted for column in found if _folded(column) == name]


def pick_columns(fields: Iterable[str], choices: Sequence[tuple[str, ...]], found: Sequence[str]) -> list[list[str]]:
    """Give the columns that fit each field; two are of different forms, as epoch and ISO text.

    :param choices: the acceptable names of each field.
    :raises DatasetError: a field has no column, or two of one form; the message names them and what to do.
    """
    picked = [fitting_columns(names, found) for names in choices]
    missing = [" or ".join(names) for names, columns in zip(choices, picked, strict=True) if not columns]
    if missing:
        raise DatasetError(
            f"the dataset lacks column(s) {'; '.join(missing)}. Found: {', '.join(found)}. "
            "Rename the columns or set field_mapping="
        )
    for field, columns in zip(fields, picked, strict=True):
        if len(set(map(_folded, columns))) < len(columns):
            raise too_many_columns(field, columns)
    return picked


def resolve_columns(choices: Sequence[tuple[str, ...]], found: Sequence[str]) -> Columns:
    """Pick the column of each field among those found.

    If an instant is there as epoch and as ISO text, both are picked, and compared row by row.

    :raises DatasetError: a field has no column, or two; the message names them and what to do.
    """
    if not found:
        return Columns(*(names[0] for names in choices))  # a dataset without rows may have no columns either
    picked = pick_columns(FIELD_COLUMNS, choices, found)
    first = [columns[0] for columns in picked]
    return Columns(*first, *(columns[1] if len(columns) > 1 else None for columns in picked[2:]))


def too_many_columns(field: str, columns: Sequence[str]) -> DatasetError:
    """Make the error of several columns for one field."""
    return DatasetError(
        f"the dataset has {len(columns)} columns for {field}: {', '.join(map(repr, columns))}. Name the one to "
        f"use, as in field_mapping={{{field!r}: {columns[0]!r}}}, or leave the other out"
    )


def _folded(name: str) -> str:
    return "".join(name.casefold().replace("_", " ").split())
