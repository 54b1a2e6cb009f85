"""The simulator as the demo uses it: a process of its own on a free loopback port, asked over HTTP like any API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from dev.airflow_home import LOGIN, PASSWORD
from dev.demo.accounts import SeenGrant
from dev.processes import child_process
from dev.sample_data.warehouse import BADGES

PORT_FILE = "port"
SECONDS_TO_START = 30.0
SECONDS_TO_ANSWER = 30.0


class SimulatorDidNotStartError(RuntimeError):
    """The simulator ended, or gave no sign of life in time; its log says why."""


class SimulatorAccount:
    """What the simulator at ``url`` says of itself."""

    def __init__(self, url: str) -> None:
        self.url = url

    def grants(self) -> tuple[SeenGrant, ...]:
        """Every badge that it granted since it started, oldest first."""
        lines = self._get("grants").splitlines()
        return tuple(
            SeenGrant(row["customerId"], row["badgeMetaId"], int(row["earnEventDate"]))
            for row in map(json.loads, lines)
        )

    def import_requests(self) -> int:
        """How many import requests it was sent, whatever became of them."""
        counts: dict[str, Any] = json.loads(self._get("summary"))["requests"]
        return sum(count for call, count in counts.items() if call.endswith("/import/customerBadges"))

    def use_faults(self, *faults: Mapping[str, Any]) -> None:
        """Let calls go wrong from now on, as in ``simulator/fault_plan.py``; none: let all go well again."""
        self._call("PUT", "faults", json.dumps({"faults": faults}))

    def faults_happened(self) -> list[int]:
        """How often each fault of the plan has happened."""
        return [fault["happened"] for fault in json.loads(self._get("summary"))["faults"]]

    def _get(self, name: str) -> str:
        return self._call("GET", name)

    def _call(self, method: str, name: str, body: str | None = None) -> str:
        # A session that looks at no environment: a proxy must not come between us and loopback.
        with requests.Session() as session:
            session.trust_env = False
            reply = session.request(method, f"{self.url}/simulator/{name}", data=body, timeout=SECONDS_TO_ANSWER)
        reply.raise_for_status()
        return reply.text


@contextmanager
def simulator_process(folder: Path) -> Iterator[SimulatorAccount]:
    """Run a simulator that has the sample shop's badges; files it needs, and its log, lie in ``folder``."""
    log = folder / "simulator.log"
    with child_process(simulator_command(folder), simulator_environment(), log) as child:
        yield SimulatorAccount(simulator_url(folder, child, log))


def simulator_command(folder: Path, port: int = 0) -> list[str]:
    """Write the files that a simulator needs, and give the command that starts it. Port 0: a free one."""
    folder.mkdir(parents=True, exist_ok=True)
    badges = folder / "badges.json"
    badges.write_text(json.dumps([{"id": badge_id, "name": name} for name, badge_id in BADGES.items()]), "utf-8")
    (folder / PORT_FILE).unlink(missing_ok=True)
    options = ["--port", str(port), "--port-file", str(folder / PORT_FILE), "--badges", str(badges)]
    return [sys.executable, "-m", "airflow_provider_capillary.simulator", *options]


def simulator_environment() -> dict[str, str]:
    """Give it the credentials: not as arguments, which everybody on the machine can see."""
    return os.environ | {"CAPILLARY_SIMULATOR_USERNAME": LOGIN, "CAPILLARY_SIMULATOR_PASSWORD": PASSWORD}


def simulator_url(folder: Path, child: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the simulator answers, and give its URL."""
    port_file = folder / PORT_FILE
    deadline = time.monotonic() + SECONDS_TO_START
    while not port_file.exists():
        if child.poll() is not None or time.monotonic() > deadline:
            raise SimulatorDidNotStartError(f"the simulator did not start; see {log}")
        time.sleep(0.05)
    return f"http://127.0.0.1:{port_file.read_text('utf-8')}"
