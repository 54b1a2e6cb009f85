"""The demo: a warehouse, a simulator, one run of the sample DAG, and a comparison of what each of them says.

Everything lies in one folder, and all processes started here end here.
"""

from __future__ import annotations

import csv
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from dev import airflow_home
from dev.demo.accounts import Accounts, SeenGrant, checks
from dev.demo.dag_test import DAG_ID, airflow, run_dag
from dev.demo.questions import rows_of_the_range
from dev.processes import child_process
from dev.sample_data.warehouse import CUSTOMERS, load_warehouse
from dev.screen import Screen
from dev.simulator_process import SimulatorAccount, simulator_process

FIRST_DAY, DAY_AFTER = "2025-01-01", "2025-04-01"


class Demo:
    """One demo in ``folder``. A later one in the same folder finds the ledger of this one, as a real job would."""

    def __init__(self, folder: Path, screen: Screen, *, first_day: str = FIRST_DAY, day_after: str = DAY_AFTER) -> None:
        self._folder = folder.resolve()
        self._screen = screen
        self._range = first_day, day_after
        self._home = self._folder / "airflow"
        self._warehouse = self._folder / "warehouse.db"
        self._granted_before = self._folder / "granted_before.json"
        self._unfinished = self._folder / "unfinished"
        self._reports = self._folder / "reports"
        self._logs = self._folder / "logs"

    def run(self) -> int:
        """Run it and return the exit code: 0 only if the DAG ended well and every account agrees."""
        self.forget_if_cut_off()
        with self._screen.step("Sample warehouse"):
            counts = load_warehouse(self._warehouse)
        self._screen.say(f"  {counts['purchases']:,} purchases of {CUSTOMERS:,} customers in {self._warehouse}")
        with simulator_process(self._folder / "simulator") as simulator:
            self._screen.done(f"Simulator of the Capillary API on {simulator.url}")
            return self._import(simulator)

    def forget_if_cut_off(self) -> None:
        """Start from nothing after a demo that did not come to its end.

        The simulator forgets when it stops: where its grants are not on record, the ledger knows of badges that the
        next simulator has never heard of, and no comparison would be honest.
        """
        if self._unfinished.exists():
            self._screen.say("The last demo did not come to its end: starting from nothing.")
            for folder in (self._home, self._reports, self._logs):
                shutil.rmtree(folder, ignore_errors=True)
            for file in (self._granted_before, self._unfinished):
                file.unlink(missing_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)

    def _import(self, simulator: SimulatorAccount) -> int:
        env = airflow_home.environment(self._home, self._warehouse, simulator.url, self._reports)
        with self._screen.step("Airflow's own database"):
            self._migrate(env)
        self._screen.say(
            f"  airflow dags test {DAG_ID}, purchases from {self._range[0]} to the day before {self._range[1]}"
        )
        log = self._logs / "dags_test.log"
        self._unfinished.touch()
        code = run_dag(env, log, *self._range, self._screen.done)
        returned = airflow_home.returned_values(self._home, DAG_ID)
        if code != 0:
            self._screen.fail("The DAG run failed.")
            self._screen.show_end_of(log)
            return 1
        return self._compare(simulator, returned)

    def _migrate(self, env: dict[str, str]) -> None:
        """Make Airflow's database, or bring it up to date where another version of Airflow made it."""
        note, airflow_version = self._home / "migrated_by", version("apache-airflow-core")
        if note.exists() and note.read_text() == airflow_version:
            return
        with child_process(airflow("db", "migrate"), env, self._logs / "db_migrate.log") as child:
            if child.wait() != 0:
                raise RuntimeError(f"airflow db migrate failed; see {self._logs / 'db_migrate.log'}")
        note.write_text(airflow_version)

    def _compare(self, simulator: SimulatorAccount, returned: dict[str, Any]) -> int:
        before = self._read_granted_before()
        now = tuple(simulator.grants())
        sql = (airflow_home.dags_folder() / "sql" / "earned_badges.sql").read_text("utf-8")
        rows, earned = rows_of_the_range(self._warehouse, sql, *self._range)
        summary = airflow_home.summary_of(returned)
        report = report_files(returned)
        accounts = Accounts(
            rows_in_warehouse=rows,
            earned=earned,
            summary=summary,
            reported_rows=_rows_of(report["errors.csv"]),
            granted_now=now,
            granted_before=before,
        )
        found = checks(accounts)
        self._write_granted_before(before + now)
        self._show(accounts, simulator.import_requests())
        self._screen.show_checks(found)
        self._name_files(report)
        if not all(check.holds for check in found):
            self._screen.fail("The accounts do not agree.")
            return 1
        self._screen.say("\nAll accounts agree. Run it again to see that nothing is sent twice.")
        return 0

    def _show(self, accounts: Accounts, requests: int) -> None:
        self._screen.say()
        self._screen.show_accounts(accounts, requests)
        self._screen.say("\nWhy rows were not accepted:")
        self._screen.show_reasons(accounts.summary.get("reasons", ()))
        self._screen.say()
        if accounts.granted_before:
            again = len(set(accounts.granted_before) & set(accounts.granted_now))
            self._screen.say(
                f"Earlier demos had {len(accounts.granted_before):,} badges granted. This one sent {again:,} again."
            )

    def _name_files(self, report: dict[str, Path]) -> None:
        self._screen.say()
        for name, path in report.items():
            self._screen.say(f"{name:<13}{path}")
        self._screen.say(f"{'logs':<13}{self._logs}")
        self._screen.say(f"{'all files':<13}{self._folder} (remove it to start from nothing)")

    def _read_granted_before(self) -> tuple[SeenGrant, ...]:
        if not self._granted_before.exists():
            return ()
        return msgspec.json.decode(self._granted_before.read_bytes(), type=tuple[SeenGrant, ...])

    def _write_granted_before(self, grants: tuple[SeenGrant, ...]) -> None:
        unfinished = self._granted_before.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.encode(grants))
        unfinished.replace(self._granted_before)
        self._unfinished.unlink()


def report_files(returned: dict[str, Any]) -> dict[str, Path]:
    """The report's files by name, from the URIs that its task returned."""
    uris = [uri for uri in _texts(returned.get("report")) if uri.startswith("file:")]
    paths = [Path(uri.removeprefix("file://")) for uri in uris]
    return {path.name: path for path in paths}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [text for child in children for text in _texts(child)]


def _rows_of(path: Path) -> int:
    with path.open(encoding="utf-8-sig", newline="") as text:
        return sum(1 for _ in csv.DictReader(text))
