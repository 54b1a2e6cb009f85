"""What Airflow remembers of a ledger, compared with the ledger that is there."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from airflow_provider_capillary.core.witness import (
    MOST_JOBS,
    LedgerState,
    Witness,
    WitnessFault,
    decode,
    encode,
    find_fault,
    missing,
    renewed,
)


def renew(before: Witness | None, commits: Mapping[str, int], job: str) -> Witness:
    return renewed(before, LedgerState("a", False, commits), job_id=job, ledger="somewhere", noted_at="now")


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (LedgerState("a", False, {"one": 7, "two": 3}), None),
        (LedgerState("a", False, {"one": 8, "two": 300, "three": 1}), None),
        (LedgerState("b", True, {}), WitnessFault.NEW),
        (LedgerState("b", False, {"one": 7, "two": 3}), WitnessFault.OTHER),
        (LedgerState("a", False, {"one": 7}), WitnessFault.OLDER),
        (LedgerState("a", False, {"one": 6, "two": 300}), WitnessFault.OLDER),
        (LedgerState("a", True, {}), WitnessFault.OLDER),
    ],
)
def test_a_ledger_needs_identity_and_every_commit(state: LedgerState, fault: WitnessFault | None) -> None:
    assert find_fault(Witness("a", {"one": 7, "two": 3}), state) is fault


def test_what_an_older_ledger_lacks_is_named() -> None:
    witness = Witness("a", {"one": 7, "two": 1_300})
    assert missing(witness, LedgerState("a", False, {"one": 7})) == "job two had 1,300 commits and has 0"
    assert missing(witness, LedgerState("a", False, {"one": 7, "two": 1_300})) == "nothing"


def test_a_witness_survives_as_text() -> None:
    witness = Witness("a", {"one": 7}, "sqlite:///x", "2026-01-01", "Ada")
    assert decode(encode(witness)) == witness


@pytest.mark.parametrize(
    "text", ["", "x", "{}", "[]", "null", '"a"', '{"ledger_id": 1}', '{"ledger_id": "a", "jobs": 1}']
)
def test_other_text_is_no_witness(text: str) -> None:
    assert decode(text) is None


def test_parallel_jobs_keep_each_other() -> None:
    first = renew(None, {"one": 1}, "one")
    second = renew(first, {"one": 5, "two": 1}, "two")
    third = renew(second, {"one": 6, "two": 2}, "one")
    assert (list(second.jobs.items()), list(third.jobs.items())) == ([("one", 5), ("two", 1)], [("two", 2), ("one", 6)])


def test_jobs_named_by_the_ledger_are_kept() -> None:
    state = LedgerState("a", False, {"one": 4, "two": 3, "three": 1})
    noted = renewed(
        Witness("a", {"two": 1}), state, job_id="one", newest=["one", "two", "three"], ledger="x", noted_at="now"
    )
    assert list(noted.jobs.items()) == [("two", 3), ("three", 1), ("one", 4)]


def test_only_the_newest_jobs_are_kept() -> None:
    witness: Witness | None = None
    for number in range(MOST_JOBS + 5):
        commits = {f"job {earlier}": 1 for earlier in range(number + 1)}
        witness = renew(witness, commits, f"job {number}")
    assert witness is not None
    assert list(witness.jobs) == [f"job {number}" for number in range(5, MOST_JOBS + 5)]


def test_jobs_of_another_ledger_are_not_taken_over() -> None:
    before = Witness("b", {"one": 7})
    assert renew(before, {"one": 1, "two": 1}, "two").jobs == {"two": 1}
