"""Starts lives of one campaign, waits for them, and keeps count of how they end."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.simulator.server import RunningSimulator

from .dataset import Row, write_csv
from .fork_server import Child, ForkServer
from .life import Life, Report
from .plans import End, Plan

LONGEST_LIFE = 120.0  #: seconds; a life that is longer hangs, which is a violation too
FORESEEN = frozenset(
    {
        "ApiUnavailableError", "AuthenticationError", "RequestRefusedError", "ImportStoppedError",
        "ImportInterruptedError", "JobIsRunningError", "LeaseLostError",
        "WrongLedgerError", "LedgerUnusableError",
    }
)  # fmt: skip


class Lives:
    """All of one campaign: one dataset, one ledger, one folder."""

    def __init__(self, plan: Plan, rows: list[Row], policy: str, ledger: str, folder: Path, server: ForkServer) -> None:
        self._plan = plan
        self.settings = {**plan.settings, "on_unknown": policy}
        self._ledger = ledger
        self._folder = folder
        self._server = server
        self._dataset = folder / "rows.csv"
        self._report: dict[Child, tuple[Path, int]] = {}
        self.deaths = 0
        self.violations: list[str] = []
        self._rows = self.write(self._dataset, rows)

    def write(self, dataset: Path, rows: list[Row]) -> int:
        """Write another dataset for lives of this campaign; give its number of rows."""
        write_csv(dataset, rows)
        return len(rows)

    def start(
        self, scope: JobScope, end: End, running: RunningSimulator, rows: int | None = None, **changes: Any
    ) -> Child:
        """Begin a life that works on the simulator.

        :param rows: how many rows its dataset has, where that is another one.
        :param changes: fields of :class:`Life` that differ from the campaign's.
        """
        number = len(self._report) + 1
        is_basic = self._plan.client["auth_type"] == "basic"
        settings = running.settings
        credentials: dict[str, str | float] = {
            "base_url": running.url,
            "login": settings.username if is_basic else settings.oauth_key,
            "password": settings.password if is_basic else settings.oauth_secret,
        }
        account = self._folder / f"account-{number}.json"
        life = Life(
            dataset=str(self._dataset),
            ledger=self._ledger,
            scope=scope,
            settings=self.settings,
            client=self._plan.client | credentials,
            lease_seconds=self._plan.lease_seconds,
            elsewhere=self._plan.elsewhere,
            end=end,
            reported=str(account),
            witness=str(self._folder / "witness.json"),
        )
        life = msgspec.structs.replace(life, **changes)
        child = self._server.start(life, self._folder / f"life-{number}.log")
        self._report[child] = account, self._rows if rows is None else rows
        return child

    def paused(self, child: Child) -> bool:
        """Whether the process has come to the point at which it is stopped."""
        return Path(f"{self._report[child][0]}.paused").exists()

    def wait(self, child: Child) -> Report:
        """Wait for its end; a killed one reports nothing."""
        path, rows = self._report[child]
        if not child.over.wait(LONGEST_LIFE):
            child.send_signal(signal.SIGUSR1)  # its threads' stacks go to its log
            child.over.wait(1)
            child.send_signal(signal.SIGKILL)
            child.over.wait(10)
            self.violations.append(f"{path.stem}: hung for {LONGEST_LIFE:.0f} s")
        elif child.was_killed:
            self.deaths += 1
        elif not path.exists():
            self.violations.append(f"{path.stem}: ended with status {child.status} and reported nothing")
        else:
            account = msgspec.json.decode(path.read_bytes(), type=Report)
            self._look_at(path.stem, account, rows)
            return account
        return Report()

    def _look_at(self, name: str, account: Report, rows: int) -> None:
        if account.unforeseen is not None:
            self.violations.append(f"{name}: {account.unforeseen[-1500:]}")
        elif account.error is not None and account.error not in FORESEEN:
            self.violations.append(f"{name}: {account.error}: {account.message}")
        if account.summary is not None:
            accounted = sum(account.summary[state.value] for state in FINAL_STATES)
            if not accounted == account.summary["rows_read"] == rows:
                self.violations.append(f"{name}: {accounted} of {rows} rows accounted for")
