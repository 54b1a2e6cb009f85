"""What the cursors of warehouses give that cannot run here ends as the same earned badges."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import airflow.sdk
import msgspec
import pytest

from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed

from .conftest import Extract
from .imitated import BADGE, COUNT, EARNED, EXPIRES, LOWER, WAREHOUSES, Cursor, Hook, Warehouse

SQL = "SELECT badge_meta_id, customer_id, earn_event_date, earn_expires_on FROM earned"


class Imitation:
    """Stands behind the connection ``warehouse``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": warehouse.conn_type}))
        monkeypatch.setattr(airflow.sdk.Connection, "get_hook", self._hook)
        self._warehouse = warehouse
        self.hooks: list[Hook] = []

    def _hook(self, *, hook_params: dict[str, Any] | None = None) -> Hook:
        self.hooks.append(Hook(self._warehouse, **(hook_params or {})))
        return self.hooks[-1]


def badges_of(dataset: Any) -> list[Any]:
    """The rows as they would be sent; instants without a zone are of UTC."""
    choices = column_choices(None)
    opened = open_dataset(dataset, required_columns=choices)
    columns = resolve_columns(choices, opened.inspect().columns)
    reader = RowReader(columns, named_zone("UTC"))
    return [
        row
        for window in opened.windows(100)
        for row in reader.read(
            window.first_row_number, *(window.column(name) for name in msgspec.structs.astuple(columns) if name)
        )
    ]


EXPECTED = {(id_, BADGE, int(EARNED.timestamp()), int(EXPIRES.timestamp())) for id_ in range(1, COUNT + 1)}


@pytest.mark.parametrize("name", WAREHOUSES)
@pytest.mark.parametrize("end", ["", ";", " ;\n"], ids=["plain", "semicolon", "semicolon and line end"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_every_driver_s_values_are_the_same_badges(
    extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, end: str, partitions: int
) -> None:
    Imitation(monkeypatch, WAREHOUSES[name])
    result = extract(SQL + end, tmp_path / "out", partitions=partitions, fetch_size=3)
    assert result["rows"] == COUNT
    rows = badges_of(result)
    assert all(isinstance(row, EarnedBadge) for row in rows), rows
    assert {(row.customer_id, row.badge_meta_id, row.earned_at, row.expires_at) for row in rows} == EXPECTED


@pytest.mark.parametrize("name", [name for name, warehouse in WAREHOUSES.items() if warehouse.several])
def test_a_second_statements_rows_are_not_lost(
    extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    Imitation(monkeypatch, WAREHOUSES[name])
    with pytest.raises(BadgeTaskFailed, match="more than one statement"):
        extract(f"{SQL}; {SQL};", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unreadable_name_does_not_stop_the_extract(
    extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redshift = WAREHOUSES["Redshift"]
    Imitation(monkeypatch, msgspec.structs.replace(redshift, names=[*LOWER[:3], b"\xfcbrig"]))
    assert extract(SQL, tmp_path / "out")["columns"] == [*LOWER[:3], "\ufffdbrig"]


ODD_ROWS = {
    "as they are": lambda id_: (BADGE, id_, EARNED, None),
    "decimals": lambda id_: (BADGE, Decimal(id_), Decimal("1.50"), Decimal(-id_)),
    "nested": lambda id_: (BADGE, id_, [id_, None], {"a": EARNED}),
    "other types": lambda id_: (BADGE.encode(), id_ % 2 == 0, EARNED.date(), id_ / 3),
    "nothing": lambda id_: (None, None, None, None),
}


@pytest.mark.parametrize("rows", ODD_ROWS)
@pytest.mark.parametrize("fetch_size", [3, 1_000])
def test_tables_and_rows_give_the_same_parts(
    extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: str, fetch_size: int
) -> None:
    results = []
    for arrow in (True, False):
        made = msgspec.structs.replace(WAREHOUSES["Databricks"], row=ODD_ROWS[rows], arrow=arrow, named_rows=False)
        with monkeypatch.context() as here:
            Imitation(here, made)
            results.append(extract(SQL, tmp_path / "out", fetch_size=fetch_size))
    assert results[0] == results[1]
    assert results[0]["rows"] == COUNT


def test_a_cursor_without_tables_gives_rows(extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Imitation(monkeypatch, WAREHOUSES["Databricks"])

    def refused(self: Cursor, size: int) -> Any:
        raise NotImplementedError("fetchmany_arrow only supported for Arrow data")

    monkeypatch.setattr(Cursor, "_table", refused)
    assert extract(SQL, tmp_path / "out")["rows"] == COUNT


def test_a_limit_of_redshift_is_explained(extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Imitation(monkeypatch, WAREHOUSES["Redshift by postgres"])
    with pytest.raises(BadgeTaskFailed, match="set fetch_size=1000"):
        extract(SQL, tmp_path / "out")
    assert extract(SQL, tmp_path / "out", fetch_size=1_000)["rows"] == COUNT


def test_hook_params_reach_the_hook(extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    imitation = Imitation(monkeypatch, WAREHOUSES["BigQuery"])
    extract(SQL, tmp_path / "out", hook_params={"use_legacy_sql": False, "location": "EU"})
    assert [hook.params for hook in imitation.hooks] == [{"use_legacy_sql": False, "location": "EU"}]


@pytest.mark.parametrize(
    ("conn_type", "hook_params", "words"),
    [
        ("sqlite", {"use_legacy_sql": False, "nonsense": 1, "schema": 2}, None),
        ("sqlite", "use_legacy_sql=False", "hook_params is 'use_legacy_sql=False'; it may be a dict"),
        ("sqlite", {"sqlite_conn_id": "twice"}, "hook_params is .*'sqlite'.* does not take"),
    ],
)
def test_hook_params_that_cannot_be_are_named(
    extract: Extract,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    conn_type: str,
    hook_params: Any,
    words: str | None,
) -> None:
    place = str(tmp_path / "warehouse.db")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": conn_type, "host": place}))
    if words is None:  # Airflow's own hooks take what they do not know
        assert extract("SELECT 1 AS a", tmp_path / "out", hook_params=hook_params)["rows"] == 1
        return
    with pytest.raises(BadgeTaskFailed, match=words):
        extract("SELECT 1 AS a", tmp_path / "out", hook_params=hook_params)


def test_a_google_connection_names_the_bigquery_type(
    extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "google_cloud_platform"}))
    monkeypatch.setattr(airflow.sdk.Connection, "get_hook", lambda self, **_: object())  # no DbApiHook, as Google's
    with pytest.raises(BadgeTaskFailed, match=r"'google_cloud_platform'.*'gcpbigquery'.*hook_params="):
        extract(SQL, tmp_path / "out")
