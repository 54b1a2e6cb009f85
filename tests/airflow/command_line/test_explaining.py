"""``airflow capillary explain``: what a name in a log or report means, without a ledger and without documentation."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_capillary.core.reasons import REGISTRY

from .conftest import Run


def test_a_name_from_a_log_is_explained(run: Run, tmp_path: Path) -> None:
    ran = run("explain", "[customer-id,", "instant-without-offset]", books=False)
    assert (ran.code, ran.err) == (0, "")
    for name in ("customer-id", "instant-without-offset"):
        assert REGISTRY[name].to_do[:60] in ran.out
    assert not list(tmp_path.iterdir())  # no ledger is made


def test_without_a_name_all_are_listed(run: Run) -> None:
    assert [one["name"] for one in run("explain", "-o", "json", books=False).json] == list(REGISTRY)


def test_a_mistyped_name_gets_near_ones(run: Run) -> None:
    ran = run("explain", "costumer-id", books=False)
    assert ran.code == 1
    assert "customer-id" in ran.err.partition("did you mean")[2]
