"""This package: a dataset read as an import reads it, first to check it and then for its rows; nothing is sent."""

from __future__ import annotations

import sys

from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.jobs.row_check import RowChecker
from measuring import measured

_WINDOW = 10_000


def main(dataset: str) -> None:
    """Read every row, and check it."""
    measured(lambda: _read(dataset))


def _read(dataset: str) -> int:
    choices = column_choices(None)
    opened = open_dataset(dataset, required_columns=choices)
    facts = opened.inspect()
    names = resolve_columns(choices, facts.columns)
    checker = RowChecker(names, named_zone("UTC"), (), badge_ids=facts.distinct.get(names.badge_meta_id, ()))
    rows = sum(len(checker.check(window)[0]) for window in opened.windows(_WINDOW))
    opened.close()
    return rows


if __name__ == "__main__":
    main(*sys.argv[1:])
