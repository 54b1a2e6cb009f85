"""Rows as files hold them: one that cannot be read is one invalid row, and the job goes on to its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pendulum
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .trial import Trial

MISSING_BADGE = "0123456789abcdef01234567"


def test_an_impossible_date_is_one_invalid_row(trial: Trial, tmp_path: Path) -> None:
    days = pa.array([21_000] * 4_999 + [6_678_000], pa.int32()).view(pa.date32())
    rows = pa.Table.from_pylist(trial.rows(5_000))
    table = rows.set_column(rows.schema.get_field_index("earnExpiresOn"), "earnExpiresOn", days)
    pq.write_table(table, tmp_path / "a.parquet")
    result = trial.run(str(tmp_path / "a.parquet"), timezone="UTC", batch_size=500)
    assert trial.ends(result) == {"accepted": 4_999, "invalid": 1}
    [(row, state, _, _, message)] = trial.issues_of(result)
    assert (row, state) == (5_000, "invalid")
    assert message == "earnExpiresOn '20253-09-29' is outside the years 1 to 9999"


def test_an_odd_unmapped_value_costs_no_outcome(trial: Trial, tmp_path: Path) -> None:
    rows = trial.rows(300)
    rows[150]["badgeMetaId"] = MISSING_BADGE
    odd = pa.array([2**31 - 1] * 300, pa.int32()).view(pa.date32())
    nested = pa.array([{"at": [1_700_000_000_000_000_007]}] * 300, pa.struct([("at", pa.list_(pa.timestamp("ns")))]))
    table = pa.Table.from_pylist(rows).append_column("infinity", odd).append_column("nested", nested)
    pq.write_table(table, tmp_path / "a.parquet")
    result = trial.run(str(tmp_path / "a.parquet"))
    assert trial.ends(result) == {"accepted": 299, "rejected": 1}
    [(original,)] = trial.ask_ledger("SELECT original FROM capillary_row_issue")
    assert '"infinity":"2147483647 days after 1970"' in original
    assert '"nested":{"at":["2023-11-14T22:13:20.000000007"]}' in original


def test_pendulum_rows_are_accepted_or_invalid(trial: Trial) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    begun, ends = pendulum.datetime(2025, 1, 31, 9), pendulum.datetime(2027, 1, 31, 9, tz="Asia/Kolkata")
    rows: list[dict[str, Any]] = trial.rows(20, earnEventDate=begun, earnExpiresOn=ends)
    rows[7]["customerId"] = Hostile()
    rows[8]["note"] = Hostile()
    result = trial.run(rows)
    assert trial.ends(result) == {"accepted": 19, "invalid": 1}


def test_a_rounded_customer_id_is_not_sent(trial: Trial) -> None:
    rows = trial.rows(3)
    rows[0]["customerId"] = 9007199254740993.0
    rows[1]["customerId"] = 5000.0
    result = trial.run(rows)
    assert trial.ends(result) == {"accepted": 2, "invalid": 1}
    assert {customer for customer, _, _ in trial.granted()} == {5000, trial.first_customer + 2}


def runs(array: pa.Array[Any]) -> pa.Array[Any]:
    """The array run-end encoded, each value a run."""
    return pa.RunEndEncodedArray.from_arrays(pa.array(range(1, len(array) + 1), pa.int32()), array)


def arrow(path: Path, rows: list[dict[str, Any]], **columns: pa.Array[Any]) -> str:
    """An Arrow file of the rows, with other columns in place of theirs."""
    table = pa.Table.from_pylist(rows)
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    return str(path)


@pytest.mark.parametrize("stored", [lambda array: array, lambda array: array.dictionary_encode(), runs])
def test_milliseconds_are_read_beside_timestamps_with_a_zone(
    trial: Trial, tmp_path: Path, stored: Callable[[pa.Array[Any]], pa.Array[Any]]
) -> None:
    rows = trial.rows(20)
    earned = [row["earnEventDate"] for row in rows]
    for row in rows:
        row["earnEventDate"] *= 1_000
    zoned = pa.array([row["earnExpiresOn"] * 10**6 for row in rows], pa.timestamp("us", "UTC"))
    result = trial.run(arrow(tmp_path / "a.arrow", rows, earnExpiresOn=stored(zoned)), timestamp_unit="ms")
    assert trial.ends(result) == {"accepted": 20}
    assert sorted(instant for _, _, instant in trial.granted()) == earned


@pytest.mark.parametrize("stored", [lambda array: array.dictionary_encode(), runs])
def test_badges_stored_once_each_are_looked_up(
    trial: Trial, tmp_path: Path, stored: Callable[[pa.Array[Any]], pa.Array[Any]]
) -> None:
    rows = trial.rows(3)
    badges = pa.array([rows[0]["badgeMetaId"], MISSING_BADGE, rows[2]["badgeMetaId"]])
    result = trial.run(arrow(tmp_path / "a.arrow", rows, badgeMetaId=stored(badges)), check_badges=True)
    assert trial.ends(result) == {"accepted": 2, "rejected": 1}
    assert trial.issues_of(result)[0][2] == "badge_check"


def test_a_padded_badge_is_looked_up(trial: Trial) -> None:
    rows = trial.rows(3)
    rows[1]["badgeMetaId"] = f" {MISSING_BADGE} "
    result = trial.run(rows, check_badges=True)
    assert trial.ends(result) == {"accepted": 2, "rejected": 1}
    assert trial.issues_of(result)[0][2] == "badge_check"
