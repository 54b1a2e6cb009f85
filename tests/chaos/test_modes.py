"""Each mode breaks what it is known to break, and nothing else; ``make chaos`` runs more of them, more often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from dev.chaos.comparison import Difference
from dev.chaos.expected_breaks import EXPECTED_BREAKS, Break
from dev.chaos.fork_server import ForkServer
from dev.chaos.mode import Mode, ModeResult, run_mode
from dev.chaos.modes import MODES, mode_table, unexpected
from dev.chaos.modes_ledger import LEDGER_MODES
from dev.chaos.modes_reads import READ_MODES
from dev.chaos.modes_time import TIME_MODES
from dev.chaos.modes_wire import WIRE_MODES
from dev.postgres import postgres_server

AT_A_TIME = 6  #: most of them wait most of the time
HOLDS, BREAKS = "array reordered", {"array reordered": Break(frozenset({"ids_lost"}), "")}


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server(durable=True) as server:
        yield server.uri("postgres")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "modes", [TIME_MODES, WIRE_MODES, LEDGER_MODES, READ_MODES], ids=["time", "wire", "ledger", "reads"]
)
def test_modes_break_only_what_is_known_to_break(fork_server: ForkServer, postgres: str, modes: Sequence[Mode]) -> None:
    def run(mode: Mode) -> ModeResult:
        return run_mode(mode, 1, server=fork_server, postgres=postgres)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        results = list(pool.map(run, [mode for mode in modes if mode.in_tests]))
    problems = [f"{result.mode}: {problem}" for result in results for problem in result.difference.problems]
    assert unexpected(results) == [], "\n".join(problems)


def test_each_expected_break_is_of_a_mode() -> None:
    assert EXPECTED_BREAKS.keys() <= MODES.keys()
    assert len(MODES) == len([*TIME_MODES, *WIRE_MODES, *LEDGER_MODES, *READ_MODES])


@pytest.mark.parametrize(
    "column", ["twice", "unreported", "lost", "not_granted", "denied", "ids_lost", "unaccounted", "unknown"]
)
def test_a_mode_that_breaks_more_is_reported(column: str) -> None:
    result = ModeResult(HOLDS, 1, msgspec.convert({column: 1}, Difference))
    assert unexpected([result], {}) == [f"{HOLDS}: broken in {column}"]


def test_a_process_that_does_not_end_is_reported() -> None:
    assert unexpected([ModeResult(HOLDS, 1, Difference(), stuck=1)], {}) == [f"{HOLDS}: broken in stuck"]


def test_a_mode_that_holds_unexpectedly_is_reported() -> None:
    assert unexpected([ModeResult(HOLDS, 1, Difference(ids_lost=1))], BREAKS) == []
    assert unexpected([ModeResult(HOLDS, 1, Difference())], BREAKS) == [
        f"{HOLDS}: holds in ids_lost, so EXPECTED_BREAKS is wrong"
    ]


def test_a_mode_that_cannot_run_is_no_break() -> None:
    assert unexpected([ModeResult(HOLDS, 1, Difference(), skipped="no right to mount")], BREAKS) == []


def test_the_documentation_has_a_row_for_each_mode() -> None:
    text = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text(encoding="utf-8")
    listed = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    assert [name for name in MODES if name not in listed] == []
    table = mode_table([ModeResult(name, 1, Difference(rows=20)) for name in MODES]).splitlines()
    assert [line.rpartition(" | ")[2] for line in table[2:]] == [line.rpartition(" | ")[2] for line in _rows(text)]


def _rows(text: str) -> list[str]:
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [line for name in MODES for line in rows if line.startswith(f"| {name} |")]
