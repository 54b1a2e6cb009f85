"""`make demo`, for a few days instead of a quarter."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from dev.demo.driver import Demo
from dev.screen import Screen


def demo(folder: Path) -> tuple[int, str]:
    output = io.StringIO()
    screen = Screen(Console(file=output, width=120))
    code = Demo(folder, screen, first_day="2025-01-13", day_after="2025-01-16").run()
    return code, output.getvalue()


@pytest.mark.timeout(300)  # Airflow starts four times
def test_a_second_demo_sends_nothing_and_accounts_agree(tmp_path: Path) -> None:
    code, output = demo(tmp_path / "a folder with spaces")
    assert code == 0, output
    assert "errors.csv" in output
    code, output = demo(tmp_path / "a folder with spaces")
    assert code == 0, output
    assert "This one sent 0 again" in output


def test_the_next_demo_trusts_nothing_of_a_broken_one(tmp_path: Path) -> None:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "capillary_ledger.db").write_text("of a simulator that has forgotten")
    (tmp_path / "unfinished").touch()
    Demo(tmp_path, Screen(Console(file=io.StringIO()))).forget_if_cut_off()
    assert not (tmp_path / "airflow").exists()
    assert not (tmp_path / "unfinished").exists()
