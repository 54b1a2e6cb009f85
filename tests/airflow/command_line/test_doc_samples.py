"""The commands of the documentation, as they are printed there, against a ledger and the simulator."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException

from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.samples import blocks, commands

from .conftest import Commands, Ran

ROW = {
    "badge_meta_id": "654e08f2041fd452b3ef5b2e",
    "earn_event_date": "2025-01-31T09:00:00Z",
    "earn_expires_on": "2027-01-31T09:00:00Z",
}
ROWS = [ROW | {"customer_id": 880_000_000 + number} for number in range(1, 5)]
RunLines = Callable[[list[str]], list[Ran]]


def imported(clear: int = 0) -> None:
    """Import the rows; those whose reply is lost stay unknown."""
    task = BadgeImportOperator(
        task_id="import_badges",
        dataset=ROWS,
        ledger_conn_id="books",
        on_unknown="hold",
        canary=False,
        batch_size=1,
        concurrency=1,
    )
    ti: Any = SimpleNamespace(dag_id="docs", task_id="import_badges", run_id="1", map_index=-1, try_number=1)
    ti.max_tries = clear
    task.execute({"ti": ti})


@pytest.fixture
def ledger(capillary_simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A ledger with an import of four rows, whose second and fourth had no reply."""
    for name, value in {
        "AIRFLOW_CONN_CAPILLARY_DEFAULT": capillary_simulator.airflow_connection(organisation=tmp_path.name),
        "AIRFLOW_CONN_BOOKS": f"sqlite:///{tmp_path}/books.db",
    }.items():
        monkeypatch.setenv(name, value)
    lost = {"kind": "drop", "at": "after_applying"}
    capillary_simulator.use_faults([lost | {"customer_id": ROWS[row]["customer_id"]} for row in (1, 3)])
    with pytest.raises(AirflowException, match="2 of 4 rows are unknown"):
        imported()
    capillary_simulator.use_faults([])
    return tmp_path / "books.db"


@pytest.fixture
def run(commands_process: Commands, capillary_simulator: RunningSimulator, ledger: Path) -> RunLines:
    """Runs lines as they are printed, with the names of this test in the place of those that stand for a reader's."""
    folder = ledger.parent
    (folder / "granted.csv").write_text(
        "badge_meta_id,customer_id,earn_event_date\n" + f"{ROW['badge_meta_id']},9,2025-01-31T09:00:00Z\n"
    )
    with closing(Ledger(f"sqlite:///{ledger}")) as opened:
        [job] = opened.jobs()
    own = {
        "JOB_ID": job.job_id,
        "OLD_NAME": folder.name,
        "granted.csv": str(folder / "granted.csv"),
        "ledger-backup.db": str(folder / "backup.db"),
        "capillary_ledger.db": str(ledger),
        "sqlite:////var/lib/capillary/new-ledger.db": f"sqlite:///{folder}/new.db",
    }
    env: dict[str, str | None] = {
        "AIRFLOW_CONN_CAPILLARY_DEFAULT": capillary_simulator.airflow_connection(organisation=folder.name),
        "AIRFLOW_CONN_BOOKS": f"sqlite:///{ledger}",
        "AIRFLOW__CAPILLARY__LEDGER_CONN_ID": "books",
    }

    def call(lines: list[str]) -> list[Ran]:
        ran = []
        for line in lines:
            program, *words = shlex.split(line)
            assert program == "airflow"
            ran.append(commands_process.run([own.get(word, word) for word in words], env, typed="yes\n"))
            assert ran[-1].code == 0, (line, ran[-1])
        return ran

    return call


@pytest.fixture
def commands_process(commands: Commands) -> Commands:
    return commands


def test_unknown_rows_are_settled_by_word_as_printed(run: RunLines) -> None:
    listed, *_ = run(commands("settle-by-word"))
    assert "880000002" in listed.out
    assert "880000004" in listed.out
    assert "8800000" not in run(commands("settle-by-word")[:1])[0].out


def test_an_import_is_undone_and_repeated_as_printed(run: RunLines, capillary_simulator: RunningSimulator) -> None:
    counted, taken = run(commands("undo-from-a-shell"))
    assert "Dry run" in counted.err
    assert "Dry run" not in taken.err
    assert sum(grant.is_active for grant in capillary_simulator.store.grants()) == 2  # those without a reply
    run(commands("grant-again"))
    with pytest.raises(AirflowException, match="2 accepted"):
        imported(clear=1)


def test_what_a_newcomer_calls_works_as_printed(run: RunLines, capillary_simulator: RunningSimulator) -> None:
    run(commands("connect"))
    [probed] = run(commands("probe"))
    assert "verify_after" in probed.out
    assert "offset" in run(commands("explain"))[0].out
    [held] = run(commands("customer"))
    assert json.loads(held.out)[0]["state"] == "accepted"


def test_ledger_and_organisations_are_kept_as_printed(run: RunLines, ledger: Path) -> None:
    assert ledger.parent.name in run(commands("which-organisation"))[0].out
    run(commands("second-organisation"))
    run(commands("rename-organisation"))
    assert "acme-eu" in run(commands("which-organisation"))[0].out
    run(commands("ledger-upgrade"))
    run(commands("ledger-accept"))
    run(commands("ledger-backup"))
    assert (ledger.parent / "backup.db").is_file()
    run(commands("ledger-copy"))
    assert (ledger.parent / "new.db").is_file()


def test_a_seed_from_a_shell_works_as_printed(run: RunLines) -> None:
    assert "seeded" in run(commands("seed-from-a-shell"))[0].out


def test_commands_that_are_only_parsed_exist(commands_process: Commands) -> None:
    lines = [line for one in blocks() if one.why and one.language == "shell" for line in one.text.splitlines()]
    words = [
        shlex.split(line.partition("airflow-scheduler ")[2] or line)
        for line in lines
        if re.search(r"^airflow | airflow capillary", line)
    ]
    assert len(words) == 3
    for program, *rest in words:
        assert program == "airflow"
        assert commands_process.run(rest, {}, only_parse=True).code == 0, rest
