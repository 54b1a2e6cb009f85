"""What the large test compares with is itself compared with what is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dev.many_workers.deaths import most_within
from dev.many_workers.night import BADGE_IDS, Night, dag_of, write_dags

MIDNIGHT = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())


def grant(row: int, **changes: object) -> bytes:
    """What the simulator lists for a row of the night."""
    customer, nth = divmod(row, 4)
    sent = {"customerId": customer + 1, "badgeMetaId": BADGE_IDS[nth], "earnEventDate": MIDNIGHT + 3_600 * nth}
    return json.dumps(sent | changes).encode()


def test_a_night_is_whole_when_granted_once() -> None:
    night = Night("2026-03-01", 10)
    night.take(map(grant, range(10)))
    assert (night.missing, night.twice, night.others) == (0, 0, 0)


def test_missing_and_doubled_rows_are_distinguished() -> None:
    night = Night("2026-03-01", 10)
    night.take(map(grant, [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8]))
    assert (night.missing, night.twice, night.others) == (1, 1, 0)


@pytest.mark.parametrize(
    "changes",
    [{"customerId": 99}, {"badgeMetaId": BADGE_IDS[1]}, {"earnEventDate": MIDNIGHT + 1}, {"earnEventDate": 0}],
    ids=str,
)
def test_a_foreign_grant_is_no_row_of_the_night(changes: dict[str, object]) -> None:
    night = Night("2026-03-01", 10)
    night.take([grant(0, **changes)])
    assert (night.missing, night.others) == (10, 1)


def test_the_busiest_seconds_are_found() -> None:
    assert most_within([0.0, 1.0, 2.0, 10.0, 10.1, 10.2, 10.9, 11.0, 30.0], 1) == 4
    assert most_within([0.0, 1.0, 2.0, 10.0, 10.1, 10.2, 10.9, 11.0, 30.0], 60) == 9
    assert most_within([], 60) == 0


def test_copies_differ_in_name_and_parts(tmp_path: Path) -> None:
    write_dags(tmp_path / "dags", (16, 4))
    for parts in (16, 4):
        source = (tmp_path / "dags" / f"{dag_of(parts)}.py").read_text("utf-8")
        assert f"PARTS = {parts}\n" in source
        assert f'dag_id="{dag_of(parts)}"' in source
        assert "schedule=None," in source
