"""Wrong arguments of a seed fail while the DAG file is parsed, in the words of the one who wrote them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.hooks.errors import BadgeTaskFailed
from airflow_provider_capillary.operators.badge_seed import BadgeSeedOperator

WRONG: dict[str, Any] = {
    "field_mapping": {"badge": "b"},
    "timezone": "Mars/Olympus",
    "timestamp_unit": "us",
    "max_invalid": "few",
    "dry_run": "perhaps",
    "dataset_format": "avro",
    "csv_delimiter": "::",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_named_mapped_or_not(name: str) -> None:
    with pytest.raises(BadgeTaskFailed, match=name) as refused:
        BadgeSeedOperator(task_id="seed", dataset="a.csv", **{name: WRONG[name]})
    assert "$." not in str(refused.value)
    with pytest.raises(BadgeTaskFailed, match=name):
        BadgeSeedOperator.partial(task_id="seed", **{name: WRONG[name]})


def test_what_a_template_gives_later_is_left_alone() -> None:
    later = "{{ params.value }}"
    templates: dict[str, Any] = {**dict.fromkeys(WRONG, later), "field_mapping": {"badgeMetaId": later}}
    operator = BadgeSeedOperator(task_id="seed", dataset="a.csv", **templates)
    assert operator.timezone == "{{ params.value }}"
