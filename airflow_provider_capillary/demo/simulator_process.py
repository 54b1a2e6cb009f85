"""The simulator as the demo uses it: a process of its own on a free loopback port, asked over HTTP like any API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from airflow_provider_capillary.demo.accounts import Grant
from airflow_provider_capillary.demo.airflow_home import LOGIN, PASSWORD
from airflow_provider_capillary.demo.processes import child_process
from airflow_provider_capillary.demo.warehouse import BADGES

SECONDS_TO_START = 30.0
SECONDS_TO_ANSWER = 30.0


class SimulatorDidNotStartError(RuntimeError):
    """The simulator ended, or gave no sign of life in time; its log says why."""


class SimulatorAccount:
    """What the simulator at ``url`` says of itself."""

    def __init__(self, url: str) -> None:
        self.url = url

    def grants(self) -> tuple[Grant, ...]:
        """Every badge that it granted since it started, oldest first."""
        lines = self._get("grants").splitlines()
        return tuple(
            Grant(row["customerId"], row["badgeMetaId"], int(row["earnEventDate"])) for row in map(json.loads, lines)
        )

    def import_requests(self) -> int:
        """How many import requests it was sent, whatever became of them."""
        counts: dict[str, Any] = json.loads(self._get("summary"))["requests"]
        return sum(count for call, count in counts.items() if call.endswith("/import/customerBadges"))

    def _get(self, name: str) -> str:
        # A session that looks at no environment: a proxy must not come between us and loopback.
        with requests.Session() as session:
            session.trust_env = False
            reply = session.get(f"{self.url}/simulator/{name}", timeout=SECONDS_TO_ANSWER)
        reply.raise_for_status()
        return reply.text


@contextmanager
def simulator_process(folder: Path) -> Iterator[SimulatorAccount]:
    """Run a simulator that has the sample shop's badges; files it needs, and its log, lie in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    badges, port_file = folder / "badges.json", folder / "port"
    badges.write_text(json.dumps([{"id": badge_id, "name": name} for name, badge_id in BADGES.items()]), "utf-8")
    port_file.unlink(missing_ok=True)
    options = ["--port", "0", "--port-file", str(port_file), "--badges", str(badges)]
    env = os.environ | {"CAPILLARY_SIMULATOR_USERNAME": LOGIN, "CAPILLARY_SIMULATOR_PASSWORD": PASSWORD}
    command = [sys.executable, "-m", "airflow_provider_capillary.simulator", *options]
    log = folder / "simulator.log"
    with child_process(command, env, log) as child:
        yield SimulatorAccount(f"http://127.0.0.1:{_port(child, port_file, log)}")


def _port(child: subprocess.Popen[bytes], port_file: Path, log: Path) -> int:
    deadline = time.monotonic() + SECONDS_TO_START
    while not port_file.exists():
        if child.poll() is not None or time.monotonic() > deadline:
            raise SimulatorDidNotStartError(f"the simulator did not start; see {log}")
        time.sleep(0.05)
    return int(port_file.read_text("utf-8"))
