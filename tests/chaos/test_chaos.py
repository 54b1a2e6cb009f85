"""The proof under attack, in a minute. ``make chaos`` is the same with hundreds of deaths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.chaos.campaign import run_campaign
from dev.chaos.fork_server import ForkServer
from dev.chaos.ledgers import empty_ledger
from dev.chaos.same_grants import killed_often
from dev.chaos.table import broken_expectations
from dev.postgres import postgres_server


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server(durable=True) as server:
        yield server.uri("postgres")


def attack(fork_server: ForkServer, folder: Path, postgres: str | None, policy: str, seed: int) -> None:
    with empty_ledger(folder, postgres, f"{policy}-{seed}") as ledger:
        result = run_campaign(seed, rows=500, deaths=3, policy=policy, ledger=ledger, folder=folder, server=fork_server)
    assert result.deaths > 0
    assert broken_expectations(result) == [], "\n".join(result.difference.problems)


@pytest.mark.parametrize(("policy", "seed"), [("hold", 3), ("verify", 1), ("verify", 4), ("resend", 2)])
def test_no_fault_loses_or_doubles_a_row(fork_server: ForkServer, tmp_path: Path, policy: str, seed: int) -> None:
    attack(fork_server, tmp_path, None, policy, seed)


@pytest.mark.parametrize(("policy", "seed"), [("hold", 5), ("verify", 5)])
def test_nor_with_the_ledger_on_postgresql(
    fork_server: ForkServer, tmp_path: Path, postgres: str, policy: str, seed: int
) -> None:
    attack(fork_server, tmp_path, postgres, policy, seed)


def test_twenty_kills_change_no_grant(fork_server: ForkServer, tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    result = killed_often(7, rows=2_000, batch_size=10, deaths=20, ledger=ledger, folder=tmp_path, server=fork_server)
    assert result.deaths == 20
    assert broken_expectations(result) == [], "\n".join(result.difference.problems)
