"""The clocks that do not jump, as this machine has them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_capillary import clocks
from airflow_provider_capillary.ledger import lease


def test_the_steady_clock_ignores_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    before = clocks.steady()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= clocks.steady() - before < 60


def test_a_boot_is_the_same_for_its_processes() -> None:
    code = "from airflow_provider_capillary import clocks; print(clocks.boot_id(), clocks.steady())"
    before = clocks.steady()
    boot_id, seconds = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.split()
    assert boot_id.decode() == clocks.boot_id()
    assert before <= float(seconds) <= clocks.steady()


@pytest.fixture
def nameless_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system without the file in which Linux names its boots, such as macOS."""
    monkeypatch.setattr(clocks, "_BOOT_ID", tmp_path / "boot_id")
    clocks.boot_id.cache_clear()
    yield
    clocks.boot_id.cache_clear()


@pytest.mark.usefixtures("nameless_boot")
def test_a_system_without_boot_names_has_no_clock() -> None:
    assert clocks.boot_id() is None
    assert clocks.steady() <= clocks.steady()


@pytest.mark.usefixtures("nameless_boot")
def test_without_a_boot_name_no_process_is_dead() -> None:
    owner = lease.this_process()
    assert owner.startswith("unknown")
    assert not lease.is_certainly_dead(owner.replace(str(owner.split("/")[1]), "999999999"))
