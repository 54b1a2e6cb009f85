"""What stands in the lists of units is there: a file that was renamed would begin last, and servers start twice."""

from __future__ import annotations

from pathlib import Path

from tests.units import ALONE, LONGEST, SHARING, place, unit_of

CHECKOUT = Path(__file__).parents[2]


def test_every_listed_unit_exists() -> None:
    assert [unit for unit in (*LONGEST, *SHARING, *ALONE) if not (CHECKOUT / unit).exists()] == []


def test_files_that_share_a_server_are_one_unit() -> None:
    command, sample = "tests/airflow/command_line/test_settling.py", "tests/airflow/test_witness.py"
    assert unit_of(f"{command}::test_one") == unit_of(f"{sample}::test_two[a::b]") == "tests/airflow"
    assert unit_of("tests/airflow/test_demo.py::test_one") == "tests/airflow/test_demo.py"
    assert unit_of("tests/unit/core/test_budget.py::test_one") == "tests/unit/core/test_budget.py"


def test_the_longest_unit_begins_first() -> None:
    assert place("tests/end_to_end/test_scheduler.py::test_one") == 0
    assert place("tests/browser/test_page.py::test_one") < place("tests/unit/core/test_budget.py::test_one")
