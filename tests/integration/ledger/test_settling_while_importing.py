"""An import and two reconciliations of the same rows at once, on every database: nothing twice, all accounts right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_capillary.simulator.server import RunningSimulator

from .backends import Backend
from .office import ROWS, Office


@pytest.fixture
def office(backend: Backend, start_capillary_simulator: Callable[..., RunningSimulator]) -> Office:
    return Office(backend, start_capillary_simulator())


@pytest.mark.parametrize("again", ["the same import", "another import"])
@pytest.mark.parametrize("attempt", range(3))
def test_an_import_and_two_reconciliations_share_rows(office: Office, again: str, attempt: int) -> None:
    known = ROWS[0] | {"customerId": 9_100_000}  # a read of it shows that reads show imports
    assert office.run("before", rows=[known]).error is None
    lost = [{"kind": "drop", "at": "after_applying", "every": 2}, {"kind": "drop", "at": "after_reading"}]
    office.simulator.use_faults(lost)
    first = office.run("first", on_unknown="hold", max_unknown="100%")
    office.simulator.use_faults(None)
    assert first.summary.unknown == len(ROWS)
    office.backend.pass_time(3_600)

    with ThreadPoolExecutor(3) as pool:
        run_id = "first" if again == "the same import" else "second"
        later = pool.submit(office.run, run_id, together=True)
        reconciled = [pool.submit(office.reconcile, first.summary.job_id) for _ in range(2)]
        result, others = later.result(120), [one.result(120) for one in reconciled]

    # The import's account added up, or it would have raised; a row that it lost to others is not sent, never lost.
    assert result.summary.rows_read == len(ROWS)
    assert result.summary.unknown == 0
    settled = sum(one.accepted + one.resend for one in others if one is not None)
    assert settled <= len(ROWS)
    final = office.run("third")
    assert final.error is None
    assert office.states() == {"accepted": len(ROWS) + 1}
    granted = Counter(grant.customer_id for grant in office.simulator.store.grants())
    assert granted == {row["customerId"]: 1 for row in [known, *ROWS]}
