"""``airflow capillary probe`` through Airflow's own command line, against a simulator on a socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.fault_plan import HangFault
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.faulty_calls import fault_seen

from .conftest import BADGE, Ran, Run

CUSTOMER = "880000001"
Start = Callable[..., RunningSimulator]
PROBE = """
import sys
from airflow.cli.cli_parser import get_parser
args = get_parser().parse_args(sys.argv[1:])
args.func(args)
"""


def probe(run: Run, simulator: RunningSimulator, *words: str) -> Ran:
    env: dict[str, str | None] = {"AIRFLOW_CONN_SHOP": simulator.airflow_connection(organisation="shop")}
    return run("probe", "--conn-id", "shop", *words, "--wait", "1", "-o", "json", env=env)


def active(simulator: RunningSimulator) -> int:
    return int(simulator.simulator.summary()["active"])


def test_it_prints_what_to_set_and_leaves_nothing(run: Run, start_capillary_simulator: Start, ledger: Ledger) -> None:
    simulator = start_capillary_simulator(methods=("POST",), timestamps="epoch_milliseconds")
    done = probe(run, simulator, "--customer", CUSTOMER, "--badge", BADGE, "--yes")
    assert done.code == 0, done.err
    [reported] = done.json
    assert reported["connection_extras"] == {"import_method": "POST", "timestamp_format": "epoch_milliseconds"}
    assert (reported["verify_after"], reported["on_unknown"]) == (60, "verify")
    assert (reported["granted"], reported["revoked"], reported["may_still_be_there"]) == (3, 3, [])
    assert '"import_method":"POST"' in reported["advice"]
    assert (active(simulator), len(simulator.store)) == (0, 3)
    kept = ledger.probes.latest("shop")
    assert kept is not None
    assert kept.asked_by.startswith("user ")


@pytest.mark.parametrize("given", [("--customer", CUSTOMER), ("--badge", BADGE), ()])
def test_customer_and_badge_must_be_named(
    run: Run, start_capillary_simulator: Start, ledger: Ledger, given: tuple[str, ...]
) -> None:
    simulator = start_capillary_simulator()
    assert probe(run, simulator, *given, "--yes").code == 2
    assert not simulator.simulator.request_counts()


@pytest.mark.parametrize(
    ("customer", "badge", "named"),
    [("0", BADGE, "--customer '0'"), ("7.5", BADGE, "--customer"), (CUSTOMER, "abc", "--badge 'abc'")],
)
def test_an_impossible_customer_or_badge_is_refused(
    run: Run, start_capillary_simulator: Start, ledger: Ledger, customer: str, badge: str, named: str
) -> None:
    simulator = start_capillary_simulator()
    done = probe(run, simulator, "--customer", customer, "--badge", badge, "--yes")
    assert done.code == 1
    assert named in done.err
    assert not simulator.simulator.request_counts()


@pytest.mark.parametrize(("answer", "code"), [("", 1), ("n\n", 1), ("\n", 1), ("yes\n", 0), ("y\n", 0)])
def test_a_probe_needs_a_yes(
    run: Run, start_capillary_simulator: Start, ledger: Ledger, answer: str, code: int
) -> None:
    simulator = start_capillary_simulator()
    env: dict[str, str | None] = {"AIRFLOW_CONN_SHOP": simulator.airflow_connection(organisation="shop")}
    words = ("--conn-id", "shop", "--customer", CUSTOMER, "--badge", BADGE, "--wait", "1", "-o", "json")
    done = run("probe", *words, env=env, typed=answer)
    assert done.code == code
    assert done.err.count("Go on? [y/N]") == 1
    assert CUSTOMER in done.err
    assert (len(simulator.store) > 0, active(simulator)) == (code == 0, 0)


def test_a_probe_after_a_kill_revokes_the_first_grant(
    run: Run, start_capillary_simulator: Start, ledger: Ledger, tmp_path: Path
) -> None:
    simulator = start_capillary_simulator()
    simulator.use_faults([HangFault(when="after", numbers=(2,))])
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW_CONN_SHOP": simulator.airflow_connection(organisation="shop"),
        "AIRFLOW_CONN_BOOKS": f"sqlite:///{tmp_path / 'books.db'}",
    }
    words = ("capillary", "probe", "--conn-id", "shop", "--customer", CUSTOMER, "--badge", BADGE, "--yes")
    with fault_seen(simulator.simulator) as hangs:
        process = subprocess.Popen(
            [sys.executable, "-c", PROBE, *words, "--ledger-conn-id", "books"],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert hangs.wait(100)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert active(simulator) == 2
    simulator.use_faults(None)
    done = probe(run, simulator, "--customer", CUSTOMER, "--badge", BADGE, "--yes")
    assert done.code == 0, done.err
    [reported] = done.json
    assert (reported["of_an_earlier_probe"], reported["may_still_be_there"], active(simulator)) == (2, [], 0)
    with closing(Ledger(f"sqlite:///{tmp_path / 'books.db'}")) as books:
        assert books.probes.open_grants("shop") == []
